package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// completion is no variable: it completes all commands, itself too.
func completion() command {
	return command{
		name: "completion", args: "bash|zsh|fish",
		short: "print a script by which a shell completes astra's commands",
		long: `
    bash:  source <(astra completion bash)
    zsh:   astra completion zsh > "${fpath[1]}/_astra"
    fish:  astra completion fish | source`,
		setup: func(*flag.FlagSet) func(*streams, []string) error {
			return func(s *streams, args []string) error {
				if len(args) != 1 {
					return usagef("want one of bash, zsh, fish")
				}
				write, ok := map[string]func(io.Writer){"bash": bash, "zsh": zsh, "fish": fish}[args[0]]
				if !ok {
					return usagef("%q: want one of bash, zsh, fish", args[0])
				}
				write(s.out)
				return nil
			}
		},
	}
}

// flagsOf returns a command's flags: name and what it is for.
func flagsOf(c command) (all [][2]string) {
	fs, _ := c.flags()
	fs.VisitAll(func(f *flag.Flag) {
		_, text := flag.UnquoteUsage(f)
		all = append(all, [2]string{"-" + f.Name, text})
	})
	return all
}

func bash(w io.Writer) {
	fmt.Fprintf(w, "_astra() {\n  local word=${COMP_WORDS[COMP_CWORD]} flags=\n  if (( COMP_CWORD == 1 )); then\n    COMPREPLY=($(compgen -W %q -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n", strings.Join(append(names(), "help"), " "))
	for _, c := range commands() {
		var flags []string
		for _, f := range flagsOf(c) {
			flags = append(flags, f[0])
		}
		fmt.Fprintf(w, "    %s) flags=%q ;;\n", c.name, strings.Join(flags, " "))
	}
	fmt.Fprint(w, "  esac\n  if [[ $word == -* ]]; then\n    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}\ncomplete -o filenames -F _astra astra\n")
}

func zsh(w io.Writer) {
	fmt.Fprint(w, "#compdef astra\n_astra() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "      '%s:%s'\n", c.name, quoteZsh(c.short))
	}
	fmt.Fprint(w, "      'help:the help of a command'\n    )\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "    %s) _arguments", c.name)
		for _, f := range flagsOf(c) {
			fmt.Fprintf(w, " '%s[%s]'", f[0], quoteZsh(f[1]))
		}
		fmt.Fprint(w, " '*:file:_files' ;;\n")
	}
	fmt.Fprint(w, "  esac\n}\n_astra \"$@\"\n")
}

func quoteZsh(s string) string {
	return strings.NewReplacer("'", "’", "[", "(", "]", ")", ":", ",").Replace(s)
}

func fish(w io.Writer) {
	for _, c := range commands() {
		fmt.Fprintf(w, "complete -c astra -n __fish_use_subcommand -f -a %s -d '%s'\n", c.name, strings.ReplaceAll(c.short, "'", "’"))
		for _, f := range flagsOf(c) {
			fmt.Fprintf(w, "complete -c astra -n '__fish_seen_subcommand_from %s' -o %s -d '%s'\n", c.name, f[0][1:], strings.ReplaceAll(f[1], "'", "’"))
		}
	}
}
