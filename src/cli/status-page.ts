import { hostname } from 'node:os'
import process from 'node:process'
import type { Config } from '../config/config.ts'
import type { AdminPage } from '../listener/admin.ts'
import type { Activity } from '../observe/activity.ts'
import type { Facts, WorkerFacts } from '../page/facts.ts'
import type { GatewayProcess } from './gateway-process.ts'
import type { Report } from './worker.ts'
import { factsOf, type Sources } from '../page/merge.ts'
import { pageOf } from '../page/page.ts'
import { contentSecurityPolicy } from '../page/style.ts'
import { version } from '../version.ts'

/** What the processes that serve clients say now. */
export type Told = Pick<Sources, 'workers' | 'reports' | 'departed' | 'reloadRefused'>

/** The status page; null where the configuration has none. */
export function statusPage(admin: Config['admin'], tell: () => Promise<Told>): AdminPage | null {
  if (admin?.page !== true) return null
  const facts = async (): Promise<Facts> => {
    const told = await tell()
    return factsOf({ ...told, version: version(), node: process.version, host: hostname(), at: new Date(), uptimeSeconds: Math.round(process.uptime()) })
  }
  return { html: async (refreshed) => pageOf(await facts(), refreshed), json: facts, policy: contentSecurityPolicy }
}

function startedAt(secondsAgo: number): string {
  return new Date(Date.now() - secondsAgo * 1000).toISOString()
}

/** What a process says that serves alone. */
export async function toldAlone(serving: Pick<GatewayProcess, 'report'>): Promise<Told> {
  const report = await serving.report()
  const worker = { number: 1, state: 'serving', startedAt: startedAt(process.uptime()), restarts: 0, lastEnd: null, load: report?.load ?? null } as const
  return { workers: [worker], reports: report === null ? [] : [report], departed: [] }
}

interface Seat extends Pick<WorkerFacts, 'number' | 'restarts' | 'lastEnd'> {
  readonly worker: { isDead(): boolean }
  /** On the clock of `performance.now()`. */
  readonly startedAt: number
  readonly listening: boolean
  readonly activity: Activity | null
}

/** Of a worker that does not answer its last hour counts alone, because its state is not known. @param departed the last hour of ended processes */
export function toldByWorkers<S extends Seat>(seats: readonly S[], answers: ReadonlyMap<S, Report>, departed: Activity): Told {
  const stateOf = (seat: S): WorkerFacts['state'] => seat.worker.isDead() ? 'ended' : !seat.listening ? 'starting' : answers.has(seat) ? 'serving' : 'silent'
  return {
    workers: seats.map((seat) => ({
      number: seat.number,
      state: stateOf(seat),
      startedAt: startedAt((performance.now() - seat.startedAt) / 1000),
      restarts: seat.restarts,
      lastEnd: seat.lastEnd,
      load: answers.get(seat)?.page?.load ?? null
    })),
    reports: [...answers.values()].flatMap(({ page }) => page ?? []),
    departed: [departed, ...seats.flatMap((seat) => answers.has(seat) || seat.activity === null ? [] : [seat.activity])]
  }
}
