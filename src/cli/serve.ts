import cluster from 'node:cluster'
import { ConfigError, parseConfig, readConfigText } from '../config-load.ts'
import type { Config } from '../config.ts'
import type { CreateGateway } from '../gateway-types.ts'
import { createAdminListener } from '../listener/admin.ts'
import { checkFiles } from './config-files.ts'
import { configFile, loadWhole } from './config.ts'
import { Orders } from './orders.ts'
import { exitCodes, type Platform } from './platform.ts'
import { Serving, type ReadConfig } from './serving.ts'
import { startTrial } from './trial.ts'
import { runWorker, workerCount } from './worker-link.ts'
import { runWorkers } from './workers.ts'

interface Named {
  readonly file: string
  readonly text: string
  readonly config: Config
}

interface ServeParts {
  readonly platform: Platform
  readonly orders: Orders
  readonly createGateway: CreateGateway
}

/**
 * `sealgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP.
 * @returns the exit code: 0 stopped with everything delivered, 3 when transfers were cut, 1 when it could not start, 2 for
 * a bad command line or configuration.
 */
export async function serve(
  args: readonly string[], platform: Platform, createGateway: CreateGateway, orders = new Orders(platform)
): Promise<number> {
  if (cluster.isWorker) return runWorker(platform, orders, createGateway)
  let named: Named | null
  try {
    named = await readNamed(configFile(args, platform), platform)
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(`${error.message}\n`)
    return exitCodes.usage
  }
  try {
    if (named === null) return await serveTrial({ platform, orders, createGateway })
    const { file, text, config } = named
    const workers = workerCount(config.workers)
    if (workers > 1) return await runWorkers({ file, text, config, workers, platform, orders })
    return await serveAlone(config, () => loadWhole(file, platform), { platform, orders, createGateway })
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  }
}

async function readNamed(file: string | null, { env }: Platform): Promise<Named | null> {
  if (file === null) return null
  const text = readConfigText(file)
  const config = parseConfig(text, { file, env })
  await checkFiles(config, file)
  return { file, text, config }
}

async function serveTrial(parts: ServeParts): Promise<number> {
  const trial = await startTrial(parts.platform)
  try {
    return await serveAlone(trial.config, null, parts, (address) => { trial.announce(address) })
  } finally {
    await trial.stop()
  }
}

async function serveAlone(
  config: Config, read: ReadConfig | null, { platform, orders, createGateway }: ServeParts, announce?: (address: Serving['address']) => void
): Promise<number> {
  // A start can take as long as the store is waited for; until then nobody has been served.
  const serving = await Promise.race([Serving.start(config, platform, createGateway), orders.stopped])
  if (serving === undefined) return exitCodes.done
  const admin = config.admin === null
    ? null
    : createAdminListener(config.admin, { ready: () => serving.ready(), metrics: () => serving.metrics(), status: () => serving.status() })
  await admin?.start()
  announce?.(serving.address)
  try {
    return await serving.untilStopped(orders, read)
  } finally {
    await admin?.stop()
  }
}
