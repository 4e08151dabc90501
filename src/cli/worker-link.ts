import cluster, { type Worker } from 'node:cluster'
import { availableParallelism } from 'node:os'
import { parseConfig } from '../config-load.ts'
import type { Config } from '../config.ts'
import type { CreateGateway, Readiness } from '../gateway-types.ts'
import type { Snapshot } from '../observe/registry.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Serving } from './serving.ts'

/** A configuration as its file had it, so that all workers have the same, also those that start later. */
export interface ConfigText {
  readonly file: string
  readonly text: string
  readonly workers: number
}

export type ToWorker =
  | { readonly type: 'start' | 'reload'; readonly config: ConfigText }
  | { readonly type: 'stop' }
  | { readonly type: 'report'; readonly id: number }

export interface Report {
  readonly ready: Readiness
  readonly metrics: Snapshot
}

export type FromWorker =
  /** Listens to messages: what was sent before is lost. */
  | { readonly type: 'hello' }
  | { readonly type: 'listening'; readonly host: string; readonly port: number }
  | { readonly type: 'report'; readonly id: number; readonly report: Report }

/** Number of processes that `workers` asks for: one per core that this process may use. */
export function workerCount(workers: Config['workers']): number {
  return workers === 'auto' ? availableParallelism() : workers
}

/**
 * One worker's part: limits that the configuration gives for all are shared out evenly, and the admin port is the primary's.
 * @throws ConfigError.
 */
export function configOfWorker({ file, text, workers }: ConfigText, env: Platform['env']): Config {
  const config = parseConfig(text, { file, env })
  const share = (all: number): number => Math.ceil(all / workers)
  const { limits, upstream } = config
  return {
    ...config,
    admin: null,
    upstream: { ...upstream, connections: share(upstream.connections) },
    limits: { ...limits, connections: share(limits.connections), requestsInFlight: share(limits.requestsInFlight) }
  }
}

/** A worker process: does as the primary says, and ends with it. @returns the exit code. */
export async function runWorker(platform: Platform, createGateway: CreateGateway): Promise<number> {
  const { worker } = cluster
  if (worker === undefined) throw new TypeError('This process is not a worker.')
  const link = new PrimaryLink(worker)
  let config = await link.start()
  try {
    const linked = link.platformOf(platform, (next) => { config = next })
    const serving = await Serving.start(configOfWorker(config, platform.env), linked, createGateway)
    link.report(serving)
    return await serving.untilStopped(() => configOfWorker(config, platform.env))
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  }
}

class PrimaryLink {
  readonly #worker: Worker
  readonly #actions = new Map<'SIGHUP' | 'SIGTERM' | 'SIGINT', () => void>()
  readonly #started = Promise.withResolvers<ConfigText>()
  #takeOver: (config: ConfigText) => void = () => undefined
  #serving: Serving | null = null

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: ToWorker) => { this.#hear(message) })
    this.#send({ type: 'hello' })
  }

  start(): Promise<ConfigText> {
    return this.#started.promise
  }

  /** What the primary says comes in as the signal that would say it to a process of its own. */
  platformOf(platform: Platform, takeOver: (config: ConfigText) => void): Platform {
    this.#takeOver = takeOver
    return {
      ...platform,
      onSignal: (signal, action) => {
        platform.onSignal(signal, action)
        this.#actions.set(signal, action)
      }
    }
  }

  report(serving: Serving): void {
    this.#serving = serving
    this.#send({ type: 'listening', ...serving.address })
  }

  #hear(message: ToWorker): void {
    switch (message.type) {
      case 'start':
        this.#started.resolve(message.config)
        break
      case 'reload':
        this.#takeOver(message.config)
        this.#actions.get('SIGHUP')?.()
        break
      case 'stop':
        this.#actions.get('SIGTERM')?.()
        break
      case 'report':
        void this.#answer(message.id)
        break
    }
  }

  async #answer(id: number): Promise<void> {
    const serving = this.#serving
    if (serving !== null) this.#send({ type: 'report', id, report: { ready: await serving.ready(), metrics: serving.snapshot() } })
  }

  #send(message: FromWorker): void {
    // A primary that is gone ends this process; nothing is to be done about a message it does not get.
    this.#worker.send(message, () => undefined)
  }
}
