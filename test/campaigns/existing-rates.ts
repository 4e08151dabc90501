// How fast `encrypt`, `verify --deep` and `decrypt` are, beside clients that read and write the same objects at the store without Sealgate, as many at
// once; and how much CPU time and memory each takes. CPU times say something on a busy machine as well. Takes minutes:
//   node test/campaigns/existing-rates.ts                                                            against the embedded store
//   node test/campaigns/existing-rates.ts ENDPOINT ACCESS_KEY SECRET_KEY [SMALL [LARGE [CONCURRENCY]]]  against another, with so many objects
import { randomBytes } from 'node:crypto'
import process from 'node:process'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bodyOf, startExisting, summaryOf } from '../support/existing-rig.ts'

const [endpoint, accessKeyId, secretAccessKey, small = '2000', large = '16', concurrency = '16'] = process.argv.slice(2)
const { bucket: Bucket, plain, direct, run, wrong, finish } = await startExisting([endpoint, accessKeyId, secretAccessKey])
const MIB = 1024 * 1024

interface Took {
  readonly seconds: number
  readonly cpuSeconds: number
}

async function timed(keys: readonly string[], work: (key: string) => Promise<unknown>): Promise<Took> {
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  const queue = [...keys]
  await Promise.all(Array.from({ length: Number(concurrency) }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next)
  }))
  const { user, system } = process.cpuUsage(cpu)
  return { seconds: (performance.now() - began) / 1000, cpuSeconds: (user + system) / 1_000_000 }
}

for (const [label, count, bytes] of [['4 KiB', Number(small), 4096], ['64 MiB', Number(large), 64 * MIB]] as const) {
  const keys = Array.from({ length: count }, (_, i) => `rate-${bytes}/${i}`)
  const body = randomBytes(bytes)
  await timed(keys, (Key) => direct.send(new PutObjectCommand({ Bucket, Key, Body: body })))
  const rate = ({ seconds, cpuSeconds }: Took): string =>
    bytes < MIB
      ? `${(count / seconds).toFixed(0)} objects/s, ${(cpuSeconds / count * 1000).toFixed(1)} CPU-ms for one`
      : `${(count * bytes / MIB / seconds).toFixed(0)} MiB/s, ${(cpuSeconds / (count * bytes / 1024 ** 3)).toFixed(1)} CPU-s for 1 GiB`
  const copied = await timed(keys, async (Key) => direct.send(new PutObjectCommand({ Bucket, Key, Body: await bodyOf(direct, Bucket, Key) })))
  const read = await timed(keys, async (Key) => {
    const { Body } = await direct.send(new GetObjectCommand({ Bucket, Key }))
    for await (const _ of Body as AsyncIterable<Buffer>);
  })
  console.log(`${count} × ${label}, ${concurrency} at once: without Sealgate`)
  console.log(`  read and written: ${rate(copied)}`)
  console.log(`  read: ${rate(read)}`)
  for (const command of [['encrypt'], ['encrypt', '--verify', '--from', 'plaintext,other-key'], ['verify', '--deep'], ['decrypt', '--to', plain], ['scan']]) {
    const again = command[1] === '--verify'
    if (again) await timed(keys, (Key) => direct.send(new PutObjectCommand({ Bucket, Key, Body: body })))
    const common = [...command, '--bucket', Bucket, '--json', '--concurrency', concurrency]
    // What a command does before its first object is no rate.
    const start = await run([...common, '--prefix', 'absent/'])
    const ran = await run([...common, '--prefix', `rate-${bytes}/`])
    if (summaryOf(ran).rows !== count || ran.code !== 0) wrong.push(`${command.join(' ')}: ${ran.out}`)
    const own = { seconds: Math.max(0.001, ran.seconds - start.seconds), cpuSeconds: Math.max(0, (ran.cpuSeconds ?? 0) - (start.cpuSeconds ?? 0)) }
    console.log(`  ${command.slice(0, 2).join(' ')}: ${rate(own)}, at most ${String(ran.peakMib)} MiB; start ${start.seconds.toFixed(1)} s apart`)
  }
}
await finish()
