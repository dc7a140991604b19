package peers

// Attempts is how many a call may have, the first included. Three is the
// default of astra and of failsafe-go.
const Attempts = 3
