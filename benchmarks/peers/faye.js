// Faye, a Bayeux server, as its documentation shows it: node faye.js PORT
"use strict";

const http = require("http");
const faye = require("faye");

const server = http.createServer();
new faye.NodeAdapter({ mount: "/faye", timeout: 45 }).attach(server);
server.keepAliveTimeout = 75000;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
