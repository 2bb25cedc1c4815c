#!/bin/sh
# Runs a Windows program with Wine, quietly and without a display.
: "${WINEPREFIX:=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/rouse-wine}"
: "${WINEDEBUG:=-all}"
: "${WINEDLLOVERRIDES:=mscoree,mshtml,winedbg.exe=}" # no questions, no crash debugger
export WINEPREFIX WINEDEBUG WINEDLLOVERRIDES WINEARCH=win64
unset DISPLAY WAYLAND_DISPLAY
mkdir -p "$(dirname "$WINEPREFIX")"
exec wine "$@"
