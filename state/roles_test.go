package state

const roleKey = "ASTRA_STATE_TEST_ROLE"

var roles = map[string]func(){}
