import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import { configWarnings } from '../../src/config/warnings.ts'

const file = '/etc/sealgate/sealgate.yaml'

/** A configuration of so many clients, each with an identity and a bucket of its own, and as many policies. */
function textOf(count: number): string {
  const numbers = Array.from({ length: count }, (_, i) => i)
  return `upstream: { endpoint: "http://store.example:9000", region: us-east-1, accessKeyId: store, secretAccessKey: store-secret }
keys: { main: { type: local, keyring: k.json } }
clients:
${
    numbers.map((i) =>
      `  - { accessKeyId: c${i}, secretAccessKey: secret-of-client-${i}, buckets: [b${i}], upstream: { accessKeyId: i${i}, secretAccessKey: s${i} } }`
    ).join('\n')
  }
buckets:
${numbers.map((i) => `  b${i}: { etag: opaque }`).join('\n')}
`
}

/** Milliseconds of CPU, the least of three. */
function costOf(work: () => unknown): number {
  return Math.min(...[1, 2, 3].map(() => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }))
}

await t.test('what is said of a configuration does not cost the square of its clients and buckets', async (t) => {
  const cost = (count: number): number => {
    const config = parseConfig(textOf(count), { file, env: {} })
    t.same(configWarnings(config), [], 'with buckets of their own nothing is to be said')
    return costOf(() => configWarnings(config))
  }
  const [some, more] = [cost(500), cost(4000)]
  t.comment(`500 clients and buckets: ${some.toFixed(1)} ms of CPU, 4,000: ${more.toFixed(1)} ms`)
  // Linear is 8 times as much, and the square 64.
  t.ok(more < 20 * some + 50, 'it has grown with the square')
})
