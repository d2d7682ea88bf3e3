// Reads a transport with the npm package "eventsource" and prints what it hears, a line of JSON each.
// It is never told a cursor after the first: coming back is the package's own doing.
//
//   node eventsource.mjs URL

import {EventSource} from 'eventsource';

const print = (what) => console.log(JSON.stringify(what));
const source = new EventSource(process.argv[2]);

source.onopen = () => print({state: 'open'});
source.onerror = () => print({state: ['connecting', 'open', 'closed'][source.readyState]});
source.onmessage = (event) => print({lastEventId: event.lastEventId, event: JSON.parse(event.data)});
