// The least a proxy in Node can do: take a request, pass it on through undici, pass the answer back.
import { createServer } from 'node:http'
import process from 'node:process'
import { pipeline } from 'node:stream'
import { Pool } from 'undici'

const [upstream = ''] = process.argv.slice(2)
const pool = new Pool(upstream, { connections: 128, pipelining: 1 })

const server = createServer((req, res) => {
  const headers: string[] = []
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    if (!/^(connection|expect|keep-alive|transfer-encoding)$/i.test(name)) headers.push(name, req.rawHeaders[i + 1] ?? '')
  }
  const body = req.method === 'GET' || req.method === 'HEAD' ? null : req
  pool.request({ path: req.url ?? '/', method: req.method ?? 'GET', headers, body }).then((answer) => {
    res.writeHead(answer.statusCode, answer.headers)
    pipeline(answer.body, res, () => undefined)
  }, () => res.destroy())
})
server.requestTimeout = 0
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port ?? 0 : 0}\n`)
})
