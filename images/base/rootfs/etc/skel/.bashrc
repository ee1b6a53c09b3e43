# Read by interactive shells.
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoreboth
HISTSIZE=5000
HISTFILESIZE=10000
shopt -s histappend checkwinsize

PS1='\[\e[1;32m\]\u\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ '
PROMPT_COMMAND='printf "\e]0;%s\a" "${PWD/#$HOME/\~}"'

alias ls='ls --color=auto' ll='ls -lh' la='ls -lhA' grep='grep --color=auto'
command -v nano >/dev/null && export EDITOR=nano
[ -r /usr/share/bash-completion/bash_completion ] && . /usr/share/bash-completion/bash_completion
