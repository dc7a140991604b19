package backend

// Class is how willingly a backend is chosen for an attempt: the least first.
type Class uint8

// The classes.
const (
	Fresh  Class = iota // it is well, and the call has not been there
	Again               // it is well, and the call has been there
	Silent              // it has answered nothing for longer than it takes
	Out                 // it is ejected or drained
)

// Choose returns which of n backends an attempt goes to: the natural one, that
// whose turn it is, unless there is one of a better class. Then the search
// begins at start, which should be random: the natural one's neighbour would get
// twice its share. n must be positive, natural and start below it.
func Choose(n, natural, start int, class func(int) Class) int {
	best, least := natural, class(natural)
	for k := 0; k < n && least > Fresh; k++ {
		i := start + k
		if i >= n {
			i -= n
		}
		if c := class(i); c < least {
			best, least = i, c
		}
	}
	return best
}

// ChooseTwo returns two of the n backends of the best class that there is, drawn
// evenly, for the better of them to be taken; twice the same if there is only
// one. draw(k) must return a random number below k.
func ChooseTwo(n int, draw func(int) int, class func(int) Class) (a, b int) {
	least, seen := Out+1, 0
	for i := range n {
		switch c := class(i); {
		case c > least:
			continue
		case c < least:
			least, seen, a, b = c, 1, i, i
			continue
		}
		seen++
		switch seen {
		case 2:
			b = i
		default: // keeps each pair as likely as any other
			switch draw(seen) {
			case 0:
				a = i
			case 1:
				b = i
			}
		}
	}
	return a, b
}

// Most returns how many of n backends may be believed out: the share of them,
// rounded down, and never the last.
func Most(n int, share float64) int {
	return max(0, min(int(share*float64(n)+rounding), n-1))
}

// rounding is what products of shares may be off.
const rounding = 1e-9
