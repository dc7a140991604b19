package state

// roleKey is the variable that gives a process its role.
const roleKey = "ASTRA_STATE_TEST_ROLE"

var roles = map[string]func(){}
