#!/bin/bash
# Follow a room with curl, over any break: ./follow.sh 'http://HOST/rooms/lobby.txt?cursors=1' CURSOR
# Lines are printed when a line with a cursor has said that they are complete; what was cut off
# before that comes again with the next request.
url=$1 cursor=$2
while :; do
    held=''
    while IFS= read -r line; do
        case $line in
        '* cursor '* | '* the stream ends here, go on with cursor='*)
            cursor=${line##*[ =]}
            printf %s "$held"
            held=''
            ;;
        *) held+=$line$'\n' ;;
        esac
    done < <(curl -sSN "$url&cursor=$cursor")
    sleep 0.2
done
