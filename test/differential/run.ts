import { differences, factsOf, type Difference } from './compare.ts'
import { Memory, send, type Answer, type Side, type Step } from './side.ts'

/** Requests that belong together, in order. Buckets are made before and emptied after. */
export interface Scenario {
  readonly name: string
  /** Buckets to make first, as the main user. */
  readonly buckets: readonly string[]
  readonly steps: readonly Step[]
  /** Make the buckets with object lock. */
  readonly locked?: boolean
}

/** A difference with the request that showed it. */
export interface Finding extends Difference {
  readonly scenario: string
  readonly side: Side['name']
  readonly step: Step
  readonly index: number
  /** The two answers differ in status too. */
  readonly errorsDiffer: boolean
}

/**
 * Sends every step of a scenario to the store and to each other side, and compares the answers.
 * @returns requests compared, and what differed.
 */
export async function runScenario(scenario: Scenario, id: string, sides: readonly Side[]): Promise<{ compared: number; findings: Finding[] }> {
  const memories = sides.map((side) => new Memory(side, id))
  const findings: Finding[] = []
  let compared = 0
  await Promise.all(memories.map((memory) => makeBuckets(scenario, memory)))
  for (const [index, step] of scenario.steps.entries()) {
    if (step.after !== undefined) {
      await new Promise((resolve) => {
        setTimeout(resolve, step.after)
      })
    }
    const answers = await Promise.all(memories.map(async (memory) => ({ memory, answer: await answerOf(step, memory) })))
    const [store, ...others] = answers.map(({ memory, answer }) => ({ side: memory.side, facts: factsOf(step, answer, memory) }))
    if (store === undefined) throw new Error('there is no side')
    for (const { side, facts } of others) {
      compared += 1
      const errorsDiffer = store.facts.get('status') !== facts.get('status')
      findings.push(...differences(store.facts, facts).map((d): Finding => ({ ...d, scenario: scenario.name, side: side.name, step, index, errorsDiffer })))
    }
  }
  await Promise.all(memories.map((memory) => removeBuckets(scenario, memory)))
  return { compared, findings }
}

async function answerOf(step: Step, memory: Memory): Promise<Answer> {
  const answer = await send(step, memory).catch((error: unknown): Answer => ({ status: 0, headers: [], body: Buffer.from(String(error)) }))
  for (const [name, from] of Object.entries(step.save ?? {})) {
    const value = from.startsWith('header:')
      ? answer.headers.find(([header]) => header === from.slice(7))?.[1]
      : new RegExp(`<${from}>([^<]*)</${from}>`).exec(answer.body.toString('utf8'))?.[1]
    if (value !== undefined) memory.remember(name, value.replaceAll('&quot;', '').replace(/^"|"$/g, ''))
  }
  return answer
}

async function makeBuckets(scenario: Scenario, memory: Memory): Promise<void> {
  for (const bucket of scenario.buckets) {
    const headers = scenario.locked === true ? [['x-amz-bucket-object-lock-enabled', 'true'] as const] : []
    const made = await send({ method: 'PUT', bucket, headers }, memory)
    if (made.status !== 200) throw new Error(`${memory.side.name}: ${memory.bucket(bucket)} is not made: ${made.status} ${made.body.toString()}`)
  }
}

/** Best effort: locked versions stay, and with them their bucket. */
async function removeBuckets(scenario: Scenario, memory: Memory): Promise<void> {
  const named = scenario.steps.flatMap((step) => step.method === 'PUT' && step.key === undefined && step.bucket !== undefined ? [step.bucket] : [])
  for (const bucket of new Set([...scenario.buckets, ...named])) {
    const listing = await send({ method: 'GET', bucket, query: [['versions', null]] }, memory)
    if (listing.status !== 200) continue
    for (const [, row = ''] of listing.body.toString('utf8').matchAll(/<(?:Version|DeleteMarker)>(.*?)<\/(?:Version|DeleteMarker)>/gs)) {
      const key = unescape(/<Key>(.*?)<\/Key>/s.exec(row)?.[1] ?? '')
      const version = /<VersionId>(.*?)<\/VersionId>/.exec(row)?.[1]
      const bypass = [['x-amz-bypass-governance-retention', 'true'] as const]
      if (key !== '') await send({ method: 'DELETE', bucket, key, query: version === undefined ? [] : [['versionId', version]], headers: bypass }, memory)
    }
    await send({ method: 'DELETE', bucket }, memory)
  }
}

function unescape(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&apos;', '\'')
    .replace(/&#(x?)([0-9a-fA-F]+);/g, (_, hex: string, digits: string) => String.fromCodePoint(parseInt(digits, hex === '' ? 10 : 16)))
    .replaceAll('&amp;', '&')
}
