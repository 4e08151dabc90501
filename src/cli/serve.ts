import cluster from 'node:cluster'
import { ConfigError, loadConfig, parseConfig, readConfigText } from '../config-load.ts'
import type { Config } from '../config.ts'
import type { CreateGateway } from '../gateway-types.ts'
import { createAdminListener } from '../listener/admin.ts'
import { configFile } from './config.ts'
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

/**
 * `sealgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP.
 * @returns the exit code: 0 stopped with everything delivered, 3 when transfers were cut, 1 when it could not start, 2 for
 * a bad command line or configuration.
 */
export async function serve(args: readonly string[], platform: Platform, createGateway: CreateGateway): Promise<number> {
  if (cluster.isWorker) return runWorker(platform, createGateway)
  let named: Named | null
  try {
    named = readNamed(configFile(args, platform), platform)
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof TypeError)) throw error
    platform.stderr.write(`${error.message}\n`)
    return exitCodes.usage
  }
  try {
    if (named === null) return await serveTrial(platform, createGateway)
    const { file, text, config } = named
    const workers = workerCount(config.workers)
    if (workers > 1) return await runWorkers({ file, text, config, workers, platform })
    return await serveAlone(config, () => loadConfig({ file, env: platform.env }), platform, createGateway)
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  }
}

function readNamed(file: string | null, { env }: Platform): Named | null {
  if (file === null) return null
  const text = readConfigText(file)
  return { file, text, config: parseConfig(text, { file, env }) }
}

async function serveTrial(platform: Platform, createGateway: CreateGateway): Promise<number> {
  const trial = await startTrial(platform)
  try {
    return await serveAlone(trial.config, null, platform, createGateway, (address) => { trial.announce(address) })
  } finally {
    await trial.stop()
  }
}

async function serveAlone(
  config: Config, read: ReadConfig | null, platform: Platform, createGateway: CreateGateway,
  announce?: (address: Serving['address']) => void
): Promise<number> {
  const serving = await Serving.start(config, platform, createGateway)
  const admin = config.admin === null
    ? null
    : createAdminListener(config.admin, { ready: () => serving.ready(), metrics: () => serving.metrics() })
  await admin?.start()
  announce?.(serving.address)
  try {
    return await serving.untilStopped(read)
  } finally {
    await admin?.stop()
  }
}
