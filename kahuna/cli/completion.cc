#include "kahuna/cli/completion.h"

#include <cstdio>

namespace kahuna::cli {

int print_bash_completion() {
  // Verbs and flags are read from the help, so that they cannot go out of date here.
  std::fputs(R"BASH(_kahuna() {
  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n '/^Subcommands:/,$s/^  \([a-z][a-z-]*\).*/\1/p')" -- "$word"))
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "$verb" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*')" -- "$word"))
  fi
}
complete -o default -F _kahuna kahuna
)BASH",
             stdout);
  return 0;
}

}  // namespace kahuna::cli
