import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const Bucket = 'bucket'

/** A port that nothing listens on, until `open`. */
async function place() {
  const server = createServer()
  const sockets: Socket[] = []
  let received = ''
  const ended = Promise.withResolvers<undefined>()
  server.on('connection', (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined).on('data', (chunk: Buffer) => {
      received += chunk.toString()
    }).on('end', () => {
      ended.resolve(undefined)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return {
    url: `tcp://127.0.0.1:${port}`,
    /** Up to the end of the connection. */
    received: async () => {
      await ended.promise
      return received
    },
    open: async () => {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}

for (const whenDown of ['buffer', 'refuse'] as const) {
  await t.test(`a sink that is down, ${whenDown}: key uses, readiness, metrics, log`, async (t) => {
    const sink = await place()
    const store = await startTestStore({ buckets: [Bucket] })
    const lines: Record<string, unknown>[] = []
    let logged: () => void = () => undefined
    const told = async (msg: string) => {
      while (!lines.some((line) => line['msg'] === msg)) {
        const { promise, resolve } = Promise.withResolvers<undefined>()
        logged = () => {
          resolve(undefined)
        }
        await promise
      }
    }
    const gateway = await startTestGateway(store, {
      sections: { audit: { key: 'main', sinks: [{ url: sink.url, whenDown }] } },
      log: (line) => {
        lines.push(JSON.parse(line) as Record<string, unknown>)
      },
      operatorLog: (level, msg, fields) => {
        lines.push({ level, msg, ...fields })
        logged()
      }
    })
    t.teardown(async () => {
      await gateway.close()
      await store.close()
      sink.close()
    })
    // The checkpoint of the start is the first line.
    await told('audit sink takes no lines')
    t.match(lines.find(({ msg }) => msg === 'audit sink takes no lines'), { sink: sink.url, reason: 'ECONNREFUSED' })
    const put = () => gateway.client().send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'body' }))
    const check = `audit sink ${sink.url}`
    t.match(await gateway.gateway.ready(), { ok: whenDown === 'buffer', checks: { [check]: 'ServiceUnavailable', keys: 'ok' } })
    t.equal(gateway.metric(`sealgate_check_failing{check="${check}",upstream=""}`), 1)
    t.ok(gateway.metric(`sealgate_audit_sink_waiting_bytes{sink="${sink.url}"}`) > 0)
    if (whenDown === 'buffer') await put()
    else {
      await t.rejects(put(), { message: 'The audit trail cannot be written.', $metadata: { httpStatusCode: 503 } })
      t.match(lines.findLast(({ msg }) => msg === 'failure'), { service: 'audit', system: 'ECONNREFUSED', trouble: 'unreachable' })
      t.same(store.keys(Bucket), [], 'no key is used')
    }
    await sink.open()
    await told('audit sink takes lines again')
    t.match(await gateway.gateway.ready(), { ok: true, checks: { [check]: 'ok' } })
    await put()
    t.match(gateway.gateway.status?.().checks.find(({ name }) => name === check), { ok: true })
    await gateway.gateway.close()
    t.match(await sink.received(), /"reason":"start".*"operation":"PutObject".*"reason":"stop"/s)
    t.notMatch(JSON.stringify(lines), new RegExp(gateway.secretAccessKey))
  })
}
