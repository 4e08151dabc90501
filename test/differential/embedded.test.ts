// The differential tester in small: the embedded store directly against the gateway in front of it.
import { Agent } from 'node:http'
import t from 'tap'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { isDeclared } from './differences.ts'
import { randomScenario } from './random.ts'
import { runScenario } from './run.ts'
import { scenarios } from './scenarios/all.ts'
import type { Side } from './side.ts'

/** Scenarios about more than one user, or about what radosgw alone knows, need a store that has it. */
const chosen = /^(object (types|metadata|ranges|read conditions|overrides|copies|tags)|listing parameters|setting (tagging|lifecycle))$/

await t.test('the gateway answers as the store does', async (t) => {
  const store = await startTestStore()
  const user = { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey }
  const gateway = await startTestGateway(store, {
    sections: {
      clients: [{ ...user, buckets: ['*'] }],
      auth: { v2Header: true },
      buckets: { '*': { encryption: 'on', key: 'main', publicRead: 'store' }, 'plain-*': { encryption: 'off', publicRead: 'store' } }
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => {
    agent.destroy()
  })
  const sides: Side[] = [
    { name: 'store', endpoint: store.endpoint, prefix: 'store', users: { main: user }, agent },
    { name: 'unsealed', endpoint: gateway.endpoint, prefix: 'plain', users: { main: user }, agent },
    { name: 'sealed', endpoint: gateway.endpoint, prefix: 'seald', users: { main: user }, agent }
  ]
  const seed = Date.now() % 1_000_000
  const all = [...scenarios(user).filter(({ name }) => chosen.test(name)), ...Array.from({ length: 2 }, (_, i) => randomScenario(seed + i, 40))]
  let compared = 0
  for (const [i, scenario] of all.entries()) {
    const { compared: count, findings } = await runScenario(
      {
        ...scenario,
        steps: scenario.steps.filter(({ as, sign }) => as === undefined && sign !== 'v2-header' && sign !== 'v2-query')
      },
      `t${i}`,
      sides
    )
    compared += count
    for (const finding of findings.filter((f) => !isDeclared(f))) {
      const { step, side, where, store: direct, gateway: through } = finding
      t.fail(
        `${scenario.name}: ${step.method} ${step.key ?? ''} ${JSON.stringify(step.query ?? [])} ${JSON.stringify(step.headers ?? [])} on ${side}: ${where}`,
        { direct, through }
      )
    }
  }
  t.ok(compared > 1000)
  t.comment(`seed ${seed}: ${compared.toLocaleString('en-US')} answers compared in ${all.length} scenarios`)
})
