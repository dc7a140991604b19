package state

// roleKey is the variable that tells a process which of the roles it has.
const roleKey = "ASTRA_STATE_TEST_ROLE"

var roles = map[string]func(){}
