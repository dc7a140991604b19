// Package text makes strings fit to leave the process: method names may come
// from a proxy's clients, error texts from a server.
package text

import (
	"strings"
	"unicode/utf8"
)

// The longest strings that leave the process, in bytes.
const (
	MaxName    = 512  // of a method or a target
	MaxMessage = 1024 // of an error
)

const cut = "…" // what stands for the rest

// Fit returns s as UTF-8 of at most limit bytes. Each run of bytes that are no
// UTF-8 becomes U+FFFD: a single one fails a whole OTLP export or Prometheus
// scrape. A longer s ends in "…".
func Fit(s string, limit int) string {
	if len(s) <= limit {
		if utf8.ValidString(s) {
			return s
		}
		s = strings.ToValidUTF8(s, "\uFFFD")
	} else {
		// What is cut off is not looked at. A rune cut in two ends in U+FFFD,
		// which the mark then replaces.
		s = strings.ToValidUTF8(s[:limit], "\uFFFD") + cut
	}
	if len(s) <= limit {
		return s
	}
	end := limit - len(cut)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + cut
}

// Name is Fit of a method's or a target's name.
func Name(s string) string { return Fit(s, MaxName) }

// Message is Fit of an error's text.
func Message(s string) string { return Fit(s, MaxMessage) }
