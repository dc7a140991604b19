package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// completionCommand is no variable, as it lists the others.
func completionCommand() command {
	return command{
		name: "completion", args: "bash|zsh|fish", short: "print a script that completes commands and flags",
		long: `Completion prints a script for a shell:

  bash   source <(astra completion bash)
  zsh    source <(astra completion zsh)
  fish   astra completion fish | source`,
		setup: func(*flag.FlagSet) func(*streams, []string) error {
			return func(s *streams, args []string) error {
				if len(args) != 1 {
					return usagef("want one of bash, zsh, fish")
				}
				switch args[0] {
				case "bash":
					bash(s.out)
				case "zsh":
					fmt.Fprintln(s.out, "autoload -U +X bashcompinit && bashcompinit")
					bash(s.out)
				case "fish":
					fish(s.out)
				default:
					return usagef("%q: want one of bash, zsh, fish", args[0])
				}
				return nil
			}
		},
	}
}

func (c command) flagNames() (all []string) {
	f, _ := c.flags()
	f.VisitAll(func(f *flag.Flag) { all = append(all, "-"+f.Name) })
	return all
}

func bash(w io.Writer) {
	fmt.Fprintf(w, `_astra() {
  local cur=${COMP_WORDS[COMP_CWORD]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "%s help" -- "$cur"))
    return
  fi
  case "$cur" in
  -*) ;;
  *) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  case "${COMP_WORDS[1]}" in
`, strings.Join(names(), " "))
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", c.name, strings.Join(c.flagNames(), " "))
	}
	fmt.Fprint(w, "  esac\n}\ncomplete -F _astra astra\n")
}

func fish(w io.Writer) {
	for _, c := range commands() {
		fmt.Fprintf(w, "complete -c astra -n __fish_use_subcommand -a %s -d '%s'\n", c.name, strings.ReplaceAll(c.short, "'", `\'`))
		for _, name := range c.flagNames() {
			fmt.Fprintf(w, "complete -c astra -n '__fish_seen_subcommand_from %s' -o %s\n", c.name, strings.TrimPrefix(name, "-"))
		}
	}
}
