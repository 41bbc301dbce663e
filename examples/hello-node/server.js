// Answers every request with a greeting, and how long it has been up.
const http = require('node:http');
const ms = require('ms');

const VERSION = '1';
const started = Date.now();

const server = http.createServer((request, response) => {
  const up = ms(Date.now() - started, { long: true });
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`Hello from hello-node, version ${VERSION}\nup for ${up}\n`);
});

const port = Number(process.env.PORT || 8080);
server.listen(port, '0.0.0.0', () => console.log(`listening on port ${port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
