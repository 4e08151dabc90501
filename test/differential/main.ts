// The same requests to a store itself and through the gateway in front of it, to a bucket that is encrypted and to one that is not.
//   node test/differential/main.ts --store ENDPOINT --access-key ID --secret-key SECRET [--profile NAME]    starts the gateway itself
//   node test/differential/main.ts --store ENDPOINT --gateway ENDPOINT --main ID:SECRET [--alt …] [--tenant …]
// With --only NAME the scenarios of that name, with --random N as many random steps more, with --all the declared differences, too. With
// test/e2e/stores/STORE.sh in front it runs against that store.
import { parseArgs } from 'node:util'
import { startTestGateway } from '../support/gateway.ts'
import { isDeclared } from './differences.ts'
import { randomScenario } from './random.ts'
import { runScenario, type Finding } from './run.ts'
import { scenarios } from './scenarios/all.ts'
import type { Side, Step, User } from './side.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'http://127.0.0.1:9200' },
    gateway: { type: 'string' },
    'access-key': { type: 'string', default: '' },
    'secret-key': { type: 'string', default: '' },
    profile: { type: 'string', default: 'none' },
    main: { type: 'string', default: '' },
    alt: { type: 'string', default: '' },
    tenant: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
    random: { type: 'string', default: '0' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    all: { type: 'boolean', default: false }
  }
})

function user(text: string): User | undefined {
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { accessKeyId: text.slice(0, colon), secretAccessKey: text.slice(colon + 1) }
}

const main = user(values.main === '' ? `${values['access-key']}:${values['secret-key']}` : values.main)
if (main === undefined || main.accessKeyId === '') throw new Error('--access-key and --secret-key are needed, or --main ACCESS_KEY_ID:SECRET_ACCESS_KEY')
const own = values.gateway === undefined ?
  await startTestGateway({ endpoint: values.store, region: 'us-east-1', ...main }, {
    sections: {
      clients: [{ ...main, buckets: ['*'] }],
      auth: { v2Header: true },
      buckets: { '*': { encryption: 'on', key: 'main', publicRead: 'store' }, 'plain-*': { encryption: 'off', publicRead: 'store' } }
    },
    upstream: { profile: values.profile }
  })
  : null
const gateway = own?.endpoint ?? values.gateway ?? ''
const [alt, tenant] = [user(values.alt), user(values.tenant)]
const users = { main, ...alt === undefined ? {} : { alt }, ...tenant === undefined ? {} : { tenant } }
const sides: Side[] = [
  { name: 'store', endpoint: values.store, prefix: 'store', users },
  { name: 'unsealed', endpoint: gateway, prefix: 'plain', users },
  { name: 'sealed', endpoint: gateway, prefix: 'seald', users }
]

const run = Date.now().toString(36)
const STEPS = 60
const rounds = Math.ceil(Number(values.random) / STEPS)
if (rounds > 0) process.stdout.write(`seed ${values.seed}\n`)
/** Not every store has more users than one. */
const hasUser = ({ as = 'main' }: Step): boolean => as === 'anonymous' || as === 'unknown' || as in users
const chosen = [
  ...scenarios(main).filter(({ name }) => name.includes(values.only)),
  ...Array.from({ length: rounds }, (_, i) => randomScenario(Number(values.seed) + i, STEPS))
].map((scenario) => ({ ...scenario, steps: scenario.steps.filter(hasUser) }))
const findings: Finding[] = []
let compared = 0
let failed = 0
for (const [i, scenario] of chosen.entries()) {
  try {
    const result = await runScenario(scenario, `${run}${i}`, sides)
    compared += result.compared
    findings.push(...result.findings)
  } catch (error) {
    failed += 1
    process.stdout.write(`FAILED ${scenario.name}: ${String(error)}\n`)
  }
}

function show(step: Step): string {
  const query = (step.query ?? []).map(([n, v]) => v === null ? n : `${n}=${v}`).join('&')
  const headers = (step.headers ?? []).map(([n, v]) => `${n}: ${v.slice(0, 60)}`).join(', ')
  return `${step.as ?? ''}${step.sign ?? ''} ${step.method} ${step.path ?? `${step.bucket ?? ''}/${(step.key ?? '').slice(0, 60)}`}${
    query === '' ? '' : `?${query}`
  } [${headers}]`
}

const undeclared = findings.filter((finding) => values.all || !isDeclared(finding))
let last = ''
for (const finding of undeclared) {
  const head = `${finding.scenario} #${finding.index}: ${show(finding.step)}`
  if (head !== last) process.stdout.write(`\n${head}\n`)
  last = head
  process.stdout.write(
    `  ${finding.side.padEnd(8)} ${finding.where}: ${JSON.stringify(finding.store.slice(0, 150))} | ${JSON.stringify(finding.gateway.slice(0, 150))}\n`
  )
}
process.stdout.write(
  `\n${compared} answers compared in ${chosen.length} scenarios, ${findings.length} differences, ${undeclared.length} undeclared; ${failed} scenarios could not be run\n`
)
await own?.close()
process.exitCode = undeclared.length === 0 && failed === 0 ? 0 : 1
