import t from 'tap'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'
import { hostileRequests } from './hostile-requests.ts'
import { readAll, startListener, text, WireClient } from '../support/listener.ts'

interface Heard {
  readonly path: string
  whole: boolean
}

await t.test('hostile requests are refused, and nothing behind them is parsed as a request', async (t) => {
  let heard: Heard[] = []
  const handle = async (request: HttpRequest): Promise<HttpResponse> => {
    const call: Heard = { path: request.target.rawPath, whole: false }
    heard.push(call)
    await readAll(request)
    call.whole = true
    return text(`${call.path}\n`)
  }
  const { listener, port } = await startListener(handle)
  t.teardown(() => listener.stop(0))
  const probe = 'GET /probe HTTP/1.1\r\nHost: h\r\n\r\n'
  let refused = 0
  let smuggled = 0

  for (const { name, bytes, fate } of hostileRequests) {
    for (const pipelined of [true, false]) {
      heard = []
      const client = await WireClient.open(port)
      client.write(pipelined ? bytes + probe : bytes)
      const first = await client.answer()
      if (!pipelined) client.write(probe)
      const second = await client.answer()
      client.socket.destroy()
      const label = `${name} (${pipelined ? 'probe in the same packet' : 'probe afterwards'})`
      const attacks = heard.filter((call) => call.path === '/attack')
      smuggled += heard.filter((call) => call.path !== '/attack' && call.path !== '/probe').length
      if (fate === 'served') {
        t.match([first?.status, first?.body.toString(), second?.status, second?.body.toString()], [200, '/attack\n', 200, '/probe\n'], label)
        continue
      }
      if (first !== null) t.ok(first.status >= 400 && first.headers.get('connection') === 'close', `${label}: answered with an error and closed`)
      t.equal(second, null, `${label}: nothing after it is answered`)
      t.same(heard.map((call) => call.whole), fate === 'broken' ? [false] : [], `${label}: what the handler saw`)
      refused += 1
      t.ok(attacks.length <= 1)
    }
  }
  t.equal(smuggled, 0)
  t.comment(`${refused} hostile requests refused, ${smuggled} smuggled`)
})
