//go:build unix

package state

import "syscall"

// unfollowed opens no symbolic link, and waits for nobody at a pipe.
const unfollowed = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
