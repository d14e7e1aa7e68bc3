#!/bin/bash
. "$(dirname "$0")/../lib.sh"
# what acts on containers that exist does not need the env_file any more
echo A=1 >a.env; pycompose up -d >/dev/null 2>&1; rm a.env
for c in ps "ps -a" logs top "port a 80" images "exec -T a true" pause unpause "kill -s CONT" "restart -t 1" "stop -t 1" start "stop -t 1 b" "start b" "rm -fs b" "down -t 1"; do timeout 20 pycompose $c >o 2>&1 || m="$m [$c: $(grep -m1 error o | tail -c 60)]"; done
[ -z "$m" ] && ok "acts without the env_file" || bad "$m"
