#!/bin/sh
# git, with at most so much memory for each of its processes, and so large files; what it maps of files does
# not count.
ulimit -d "${SLIPWAY_GIT_KIB:-unlimited}" 2>/dev/null || :  # it has less already
trap "" XFSZ  # a file that is too large is an error that git reports
ulimit -f "${SLIPWAY_GIT_FILE_BLOCKS:-unlimited}" 2>/dev/null || :
exec git "$@"
