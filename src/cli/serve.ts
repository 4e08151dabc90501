import cluster from 'node:cluster'
import { parseConfig, readConfigText } from '../config/load.ts'
import { unseal, type Unsealed } from './sealed-config.ts'
import type { ConfigFault } from '../config/tree.ts'
import type { Config } from '../config/config.ts'
import type { CreateGateway } from '../gateway/types.ts'
import { createAdminListener } from '../listener/admin.ts'
import { UsageError } from './command-line.ts'
import { checkFiles } from './config-files.ts'
import { deploymentWarnings } from './deployment-warnings.ts'
import { configFile, loadWhole } from './check-config.ts'
import { ProcessSignals } from './signals.ts'
import { exitCodes, type Platform } from './platform.ts'
import { GatewayProcess, type ReadConfig } from './gateway-process.ts'
import { bind, openLog, tellWarnings } from './start-up.ts'
import { statusPage, toldAlone } from './status-page.ts'
import { runWorker, workerCount } from './worker.ts'
import { runWorkers } from './primary.ts'

interface Named {
  readonly file: string
  readonly text: string
  readonly unsealed: Unsealed
  readonly config: Config
}

interface ServeParts {
  readonly platform: Platform
  readonly signals: ProcessSignals
  readonly createGateway: CreateGateway
  readonly warnings?: readonly ConfigFault[]
}

/**
 * `sealgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP.
 * @returns the exit code: 0 stopped with every transfer finished, 3 when transfers were cut, 1 when it could not start, 2 for a bad command line or
 * configuration.
 * @throws UsageError, ConfigError.
 */
export async function serve(
  values: { readonly config: string | undefined; readonly trial: boolean },
  platform: Platform,
  createGateway: CreateGateway,
  signals = new ProcessSignals(platform)
): Promise<number> {
  if (cluster.isWorker) return runWorker(platform, signals, createGateway)
  const file = configFile(values, platform)
  if (file === null && !values.trial) {
    throw new UsageError('No configuration is named: give --config FILE or SEALGATE_CONFIG, or --trial for a set-up to try out.')
  }
  const named = await readNamed(file, platform)
  try {
    if (named === null) return await serveDemo({ platform, signals, createGateway })
    const { file, text, unsealed, config } = named
    const workers = workerCount(config.workers)
    const warnings = await deploymentWarnings(config, file)
    if (workers > 1) {
      const log = await openLog(config, platform)
      tellWarnings(log, warnings)
      return await runWorkers({ file, text, unsealed, config, workers, platform, signals, log })
    }
    return await serveAlone(config, () => loadWhole(file, platform), { platform, signals, createGateway, warnings })
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  }
}

async function readNamed(file: string | null, { env }: Platform): Promise<Named | null> {
  if (file === null) return null
  const text = readConfigText(file)
  const unsealed = await unseal(text, file, env)
  const config = parseConfig(text, { file, env, unsealed })
  await checkFiles(config, file)
  return { file, text, unsealed, config }
}

async function serveDemo(parts: ServeParts): Promise<number> {
  // A gateway in production does not load the embedded store.
  const { startDemo } = await import('./demo.ts')
  const demo = await startDemo(parts.platform)
  try {
    return await serveAlone(demo.config, null, parts, (address, admin) => {
      demo.announce(address, admin)
    })
  } finally {
    await demo.stop()
  }
}

async function serveAlone(
  config: Config,
  read: ReadConfig | null,
  { platform, signals, createGateway, warnings }: ServeParts,
  announce?: (address: GatewayProcess['address'], admin: GatewayProcess['address'] | null) => void
): Promise<number> {
  // A start can take as long as the store needs to answer; no request has been served until then.
  const serving = await Promise.race([GatewayProcess.start(config, platform, { createGateway, warnings }), signals.stopped])
  if (serving === undefined) return exitCodes.done
  const { admin: address } = config
  const admin = address === null
    ? null
    : createAdminListener(address, {
      ready: () => serving.ready(),
      metrics: () => serving.metrics(),
      status: () => serving.status(),
      page: statusPage(address, () => toldAlone(serving))
    })
  const bound = admin === null || address === null ? null : await bind('admin', address, () => admin.start())
  announce?.(serving.address, bound)
  try {
    return await serving.untilStopped(signals, read)
  } finally {
    await admin?.stop()
  }
}
