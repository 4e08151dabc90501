// node bench/peer.ts --endpoint URL --pid PID --bucket NAME --access-key ID --secret-key SECRET [--region NAME] [--rounds N]
// What any S3 server on this machine costs in its own process for the work of these benchmarks: see peers.md.
import { randomBytes } from 'node:crypto'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { BenchClient, bodyOf, hashOf, sendParts, type Answer } from './client.ts'
import { Watched } from './processes.ts'
import { GIB, KIB, MIB, row, say } from './rig.ts'

const text = { type: 'string' } as const
const { values } = parseArgs({
  options: { 'endpoint': text, 'pid': text, 'bucket': text, 'access-key': text, 'secret-key': text, 'rounds': { ...text, default: '5' } }
})
const { endpoint, pid, bucket, rounds, 'access-key': accessKeyId, 'secret-key': secretAccessKey } = values
if (endpoint === undefined || pid === undefined || bucket === undefined || accessKeyId === undefined || secretAccessKey === undefined) {
  process.stderr.write('node bench/peer.ts --endpoint URL --pid PID --bucket NAME --access-key ID --secret-key SECRET [--rounds 5]\n')
  process.exit(2)
}
const server = new Watched(Number(pid))
const client = new BenchClient(endpoint, { accessKeyId, secretAccessKey })
const size = 512 * MIB
const small = randomBytes(4 * KIB)
const sha256 = hashOf(size)
const rows = 1000

async function taken(answer: Promise<Answer>, wanted = 200): Promise<Answer> {
  const got = await answer
  if (got.status !== wanted) throw new Error(`status ${got.status}: ${got.text}`)
  return got
}

/** So many requests, 16 at once. */
async function many(count: number, send: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let i = next++; i < count; i = next++) await send(i)
  }))
}

const put = (path: string, headers = {}): Promise<Answer> => taken(client.send('PUT', `/${bucket}/${path}`, { body: bodyOf(size), size, ...headers }))
const range = async (i: number): Promise<void> => {
  const first = i * 7_919_111 % (size - 64 * KIB)
  await taken(client.send('GET', `/${bucket}/large`, { headers: { range: `bytes=${first}-${first + 64 * KIB - 1}` } }), 206)
}

/** Each with its unit: a GiB, or 1,000 requests. */
const works: readonly (readonly [name: string, units: number, work: () => Promise<unknown>])[] = [
  ['PUT, CPU-s for 1 GiB', size / GIB, () => put('large')],
  ['PUT with a signed payload, for 1 GiB', size / GIB, () => put('large', { sha256 })],
  ['GET, for 1 GiB', size / GIB, () => taken(client.send('GET', `/${bucket}/large`))],
  ['PUT in 4 parts at once, for 1 GiB', size / GIB, async () => {
    const { complete } = await sendParts(client, `/${bucket}/parts`, { parts: 4, partSize: size / 4, atOnce: 4 })
    await taken(complete())
  }],
  ['PUT of 4 KiB, for 1,000', 4, () => many(4000, (i) => taken(client.send('PUT', `/${bucket}/rows/${i % rows}`, { body: small, size: small.length })))],
  ['GET of 4 KiB, for 1,000', 4, () => many(4000, (i) => taken(client.send('GET', `/${bucket}/rows/${i % rows}`)))],
  ['range of 64 KiB, for 1,000', 2, () => many(2000, range)],
  [`LIST of ${rows} rows, for 1,000`, 0.02, () => many(20, () => taken(client.send('GET', `/${bucket}`, { query: { 'list-type': '2', 'prefix': 'rows/' } })))]
]

row('CPU-seconds of the process', 'median', 'least', 'most')
const seen = new Map<string, number[]>(works.map(([name]) => [name, []]))
// The first round warms up.
for (let round = 0; round <= Number(rounds); round += 1) {
  for (const [name, units, work] of works) {
    const before = server.cpuSeconds()
    await work()
    if (round > 0) seen.get(name)?.push((server.cpuSeconds() - before) / units)
  }
}
for (const [name, costs] of seen) {
  const sorted = costs.toSorted((a, b) => a - b)
  row(name, ...[sorted[sorted.length >> 1], sorted[0], sorted.at(-1)].map((cost) => (cost ?? Number.NaN).toFixed(2)))
}
say(`resident: ${server.rssMiB().toFixed(0)} MiB`)
await client.close()
