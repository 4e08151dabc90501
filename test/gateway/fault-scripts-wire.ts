// Uploads that no SDK makes: every framing of S3, presigned URLs, browser forms.
import { Agent } from 'node:http'
import { rawRequest } from '../support/raw-client.ts'
import { form } from './authentication-rows.ts'
import { Bucket, isOneOf, isTrue, large, old, put, script, type Run, type Script } from './fault-script.ts'
import { presigned } from './presigned.ts'
import { framings, upload } from '../support/uploads.ts'
import { headOf } from '../support/wire.ts'

/** Longer than any run may take: silence is for the rig to report. */
const timeout = 60_000

interface Answer {
  readonly status: number
  readonly body: Buffer
}

/** @throws Error named as the answer's code, as the SDK does, unless the status says success */
function acknowledged({ status, body }: Answer): void {
  if (status >= 200 && status < 300) return
  throw Object.assign(new Error(`answered ${status}`), { name: /<Code>([^<]*)</.exec(body.toString('latin1'))?.[1] ?? 'unknown' })
}

/** Writes `large` by other means over what was there, or where there was nothing. */
function sends(name: string, before: Buffer | null, send: (run: Run) => Promise<Answer>): Script {
  return script(name, async (run) => {
    if (before !== null) await put(run, before)
  }, async (run) => {
    acknowledged(await send(run))
  }, (run, _, done) => isOneOf(run, run.id, done ? [large] : [before, large]))
}

export const wireScripts: readonly Script[] = [
  ...framings.map((framing, i) =>
    sends(`put with framing ${framing}`, i % 2 === 0 ? null : old, async ({ gateway, id }) => {
      const { head, body } = upload(gateway, `/${Bucket}/${id}`, framing, large)
      return rawRequest(gateway.endpoint, Buffer.concat([head, body]), { timeout })
    })
  ),
  sends(
    'put presigned',
    old,
    ({ gateway, id }) => presigned(gateway, { method: 'PUT', path: `/${Bucket}/${id}`, body: large.toString('latin1'), agent: new Agent() })
  ),
  script('get presigned', (run) => put(run, large), async ({ gateway, id }) => {
    const answer = await presigned(gateway, { method: 'GET', path: `/${Bucket}/${id}`, agent: new Agent() })
    acknowledged(answer)
    isTrue(answer.body, large)
  }, (run) => isOneOf(run, run.id, [large])),
  sends('post a form', old, async ({ gateway, id }) => {
    const body = form(gateway, 'valid', [{ bucket: Bucket }], { key: id, text: large.toString('latin1') })
    const headers = [['Host', 'gateway.test'], ['Content-Type', 'multipart/form-data; boundary=b'], ['Content-Length', String(body.length)]] as const
    return rawRequest(gateway.endpoint, Buffer.concat([headOf({ method: 'POST', target: `/${Bucket}`, headers }), Buffer.from(body, 'latin1')]), { timeout })
  })
]
