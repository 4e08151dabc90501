// A relay in front of a store that counts the requests for objects of the benchmarks' buckets; GET /counted tells how many.
import { createServer, request } from 'node:http'
import process from 'node:process'
import { pipeline } from 'node:stream'

const [upstream = ''] = process.argv.slice(2)
const { hostname, port } = new URL(upstream)
let counted = 0

const server = createServer({ requestTimeout: 0 }, (req, res) => {
  if (req.url === '/counted') {
    res.end(String(counted))
    return
  }
  if (req.url?.startsWith('/opaque/') === true) counted += 1
  const onward = request({ hostname, port, method: req.method, path: req.url, headers: req.headers }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    pipeline(answer, res, () => undefined)
  })
  pipeline(req, onward, (error) => {
    if (error instanceof Error) res.destroy()
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port ?? 0 : 0}\n`)
})
