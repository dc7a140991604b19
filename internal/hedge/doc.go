// Package hedge decides when attempts of one call run side by side.
//
// [Schedule] is one call's schedule, by the text of gRFC A6 ("hedging policy"):
// who starts when, and what ends it. It is single-threaded and takes the time
// as an argument, a Duration since an epoch of the caller's choice.
// [Quantile] knows, for many calls at a time, how long a method's attempts
// lately took.
package hedge
