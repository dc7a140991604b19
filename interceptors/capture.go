package interceptors

import (
	"net"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/astra-grpc/astra/internal/engine"
)

// capture stands between a call's attempts and those of its CallOptions that
// have effects. Attempts write header, trailer and peer here; the final one's
// are delivered to the caller once, and its OnFinish is called once. A capture
// serves attempts one after another, not at the same time.
type capture struct {
	header  metadata.MD
	trailer metadata.MD
	peer    peer.Peer

	theirs   []grpc.CallOption  // as the caller gave them
	ours     []grpc.CallOption  // as attempts get them; kept for its memory
	usual    [2]grpc.CallOption // as attempts get them if the caller gave none
	effects  bool               // some of theirs are to be honoured in the end
	finished bool               // onFinish has been called

	wantHeader bool // though the caller does not
}

// wrap returns the options for attempts. A unary call always wants the trailer,
// as pushback comes in it; a stream can be asked for it. Every attempt wants the
// peer: that it is filled says that the attempt got a stream on a connection. A
// type that embeds one of grpc's options is not recognised; its attempts write to
// the caller's variable.
func (c *capture) wrap(theirs []grpc.CallOption, trailer bool) []grpc.CallOption {
	c.theirs = theirs
	if len(theirs) == 0 && trailer && !c.wantHeader {
		c.usual = [2]grpc.CallOption{grpc.Peer(&c.peer), grpc.Trailer(&c.trailer)}
		return c.usual[:]
	}
	c.ours = c.ours[:0]
	c.ours = append(c.ours, grpc.Peer(&c.peer))
	if trailer {
		c.ours = append(c.ours, grpc.Trailer(&c.trailer))
	}
	header := c.wantHeader
	if header {
		c.ours = append(c.ours, grpc.Header(&c.header))
	}
	for _, o := range theirs {
		switch o.(type) {
		case grpc.HeaderCallOption:
			if !header {
				header = true
				c.ours = append(c.ours, grpc.Header(&c.header))
			}
		case grpc.PeerCallOption:
		case grpc.TrailerCallOption:
			if !trailer {
				trailer = true
				c.ours = append(c.ours, grpc.Trailer(&c.trailer))
			}
		case grpc.OnFinishCallOption, attemptsOption:
		default:
			c.ours = append(c.ours, o)
			continue
		}
		c.effects = true
	}
	return slices.Clip(c.ours) // an append beneath must not write into our array
}

// reset forgets the attempt before: one that gets no stream writes nothing,
// and must not be taken to have ended as that one did.
func (c *capture) reset() {
	c.header, c.trailer = nil, nil
	if c.sent() {
		c.peer = peer.Peer{}
	}
}

// sent reports whether the last attempt got a stream on a connection.
func (c *capture) sent() bool {
	return c.peer.Addr != nil || c.peer.LocalAddr != nil || c.peer.AuthInfo != nil
}

// trailersOnly reports whether the last attempt's trailer came without a header before
// it: then it has a content type.
func (c *capture) trailersOnly() bool { return len(c.trailer["content-type"]) > 0 }

// headed reports whether the last attempt of a unary call got a header, as far as that
// was asked.
func (c *capture) headed() bool {
	return len(c.header) > 0 || c.sent() && len(c.trailer) > 0 && !c.trailersOnly()
}

// from returns whom the last attempt got a stream to; nil: not known.
func (c *capture) from() net.Addr { return c.peer.Addr }

// evidence is what the last attempt of a unary call left, which failed.
func (c *capture) evidence(cc *grpc.ClientConn, method string, reply any) engine.Evidence {
	ev := engine.Evidence{Known: cc != nil, Sent: c.sent(), Peer: c.from(), Header: c.headed(), Trailer: c.trailer}
	if ev.Sent && !c.trailersOnly() {
		m, ok := reply.(proto.Message)
		ev.Message = ok && proto.Size(m) > 0
	}
	unconnected(&ev, cc, method, c.theirs)
	return ev
}

// seen is what a classifier gets of the last attempt of a unary call.
func (c *capture) seen(err error, reply any) Attempt {
	return Attempt{Err: err, Reply: reply, Header: c.header, Trailer: c.trailer, Sent: c.sent()}
}

// deliver gives the caller what the last attempt left.
func (c *capture) deliver() {
	if !c.effects {
		return
	}
	for _, o := range c.theirs {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = c.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = c.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = c.peer
		}
	}
}

// onFinish calls the caller's OnFinish options, once; after deliver, as
// grpc-go has it.
func (c *capture) onFinish(err error) {
	if c.effects {
		c.finishOnce(err)
	}
}

func (c *capture) finishOnce(err error) {
	if !c.finished {
		c.finished = true
		onFinish(c.theirs, err)
	}
}

func onFinish(opts []grpc.CallOption, err error) {
	for _, o := range opts {
		if o, ok := o.(grpc.OnFinishCallOption); ok {
			o.OnFinish(err)
		}
	}
}

// release lets go of everything but the memory of the options.
func (c *capture) release() {
	if len(c.ours) > 0 {
		clear(c.ours)
		c.ours = c.ours[:0]
	}
	c.theirs = nil
	c.effects, c.finished, c.wantHeader = false, false, false
	c.reset()
}
