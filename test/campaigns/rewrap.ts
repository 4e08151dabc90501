// 1,000 objects re-wrapped under SIGKILL and clients that write, tag and read. Takes minutes:
//   node test/campaigns/rewrap.ts                                        against the embedded store
//   node test/campaigns/rewrap.ts ENDPOINT ACCESS_KEY SECRET_KEY [guarded]     against another store; the state bucket and two
//   buckets are made there and stay. Without "guarded" the clients write beside the objects that are re-wrapped.
import { randomBytes } from 'node:crypto'
import process from 'node:process'
import { startTestStore } from '../support/hostile.ts'
import { rewrapUnderFire } from '../maintenance/under-fire.ts'

const [endpoint, accessKeyId, secretAccessKey, guarded] = process.argv.slice(2)
const embedded = endpoint === undefined ? await startTestStore({ keepBodies: false }) : null
const access = embedded ?? { endpoint: endpoint ?? '', accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '', region: 'us-east-1' }
const suffix = randomBytes(3).toString('hex')
const damage = await rewrapUnderFire({
  store: access,
  objects: 1000,
  multipart: 20,
  meanBytes: 100_000,
  stateBucket: `sealgate-state-${suffix}`,
  buckets: [`rewrap-${suffix}`, `rewrap-versions-${suffix}`],
  guarded: embedded !== null || guarded === 'guarded',
  life: [0, 2500],
  pauseMs: 10,
  kills: 12,
  say: (line) => {
    console.log(line)
  }
})
for (const fault of damage.faults) console.log(`FAULT ${fault}`)
for (const { keyId, objects } of damage.usage) console.log(`${objects} objects under ${keyId}${keyId === damage.current ? ' (current)' : ''}`)
console.log(
  `${damage.kills} kills in ${damage.runs} runs; meanwhile ${damage.writes} overwrites, ${damage.tags} tags, ${damage.reads} reads; ${damage.faults.length} faults`
)
console.log(`${damage.moved.toLocaleString('en')} bytes between command and store for ${damage.stored.toLocaleString('en')} bytes of bodies`)
await embedded?.close()
process.exitCode = damage.faults.length === 0 ? 0 : 1
