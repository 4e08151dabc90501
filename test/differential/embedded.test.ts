// The differential tester in small: the embedded store directly against the gateway in front of it.
import { Agent } from 'node:http'
import t from 'tap'
import { byTurns } from '../support/by-turns.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { isDeclared } from './differences.ts'
import { randomScenario } from './random.ts'
import { runScenario } from './run.ts'
import { scenarios } from './scenarios/all.ts'
import type { Side, Step } from './side.ts'

/** Scenarios about more than one user, or about what radosgw alone knows, need a store that has it. */
const chosen = /^(object (types|metadata|ranges|read conditions|overrides|copies|tags)|listing parameters|setting (tagging|lifecycle))$/

/**
 * All that changes or remembers something, and 4 of 7 reads: of two that follow each other at least one, and not always of the same kind, as rows of
 * two, three or four reads have no period in common with 7.
 */
function sample(steps: readonly Step[]): Step[] {
  let reads = 0
  return steps.filter(({ method, save }) => {
    if ((method !== 'GET' && method !== 'HEAD') || save !== undefined) return true
    reads += 1
    return byTurns([1, 3, 5, 6].includes(reads % 7))
  })
}

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
  const all = [...scenarios(user).filter(({ name }) => chosen.test(name)), randomScenario(seed, 40)]
  let compared = 0
  for (const [i, scenario] of all.entries()) {
    const { compared: count, findings } = await runScenario(
      { ...scenario, steps: sample(scenario.steps.filter(({ as, sign }) => as === undefined && sign !== 'v2-header' && sign !== 'v2-query')) },
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
  t.ok(compared > 600)
  t.comment(`seed ${seed}: ${compared.toLocaleString('en-US')} answers compared in ${all.length} scenarios`)
})
