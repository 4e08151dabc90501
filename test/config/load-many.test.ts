import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import { configWarnings } from '../../src/config/warnings.ts'
import { judgeGrowth } from '../support/growth.ts'

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

await t.test('what is said of a configuration does not cost the square of its clients and buckets', async (t) => {
  const most = 6000
  const configs = new Map([1, 2, 4].map((part) => [most / part, parseConfig(textOf(most / part), { file, env: {} })]))
  const bytes = textOf(most).length
  const { fault, cost } = await judgeGrowth('what is said of a configuration', bytes, (length) => {
    const config = configs.get(most * length / bytes)
    if (config === undefined || configWarnings(config).length > 0) throw new Error('with buckets of their own nothing is to be said')
  })
  t.equal(fault, null)
  t.comment(`${most.toLocaleString('en')} clients and buckets: ${(cost / 1000).toFixed(1)} ms of CPU`)
})
