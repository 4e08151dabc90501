import { randomBytes } from 'node:crypto'
import { open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import type { Config, UpstreamConfig } from '../config/config.ts'
import { parseConfig } from '../config/load.ts'
import { editTree, showOption } from '../config/tree.ts'
import { isLoopback } from '../config/loopback.ts'
import { showBytes } from '../config/units.ts'
import { diagnosisOf, fieldsOf, systemWords } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { changesOf, checkStore, costOf, type StoreReport } from '../store-client/check/plan.ts'
import type { Fact, Settings, Verdict } from '../store-client/check/check.ts'
import type { StoreUpstream } from '../upstream/upstream.ts'
import { loadWhole, requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'
import { countOption, openStore, storeNamed, storeOfBucket, tlsOfStore } from './store-command.ts'

/** One part above what the stores with the lowest limit take. */
const DEEP_PARTS = 1001

interface StoreCheckValues {
  readonly config: string | undefined
  readonly bucket: string | undefined
  readonly upstream: string | undefined
  readonly deep: boolean
  readonly parts: string | undefined
  readonly write: boolean
  readonly json: boolean
}

/** `sealgate store check`. @returns the exit code. @throws UsageError, ConfigError for what was asked. */
export async function runStoreCheck(values: StoreCheckValues, platform: Platform): Promise<number> {
  if (values.deep && values.parts !== undefined) throw new UsageError('--deep is --parts 1001: give one of them.')
  const file = requiredConfig(values, platform)
  const config = await loadWhole(file, platform)
  const parts = values.deep ? DEEP_PARTS : values.parts === undefined ? 0 : countOption('parts', values.parts, DEEP_PARTS, 10_000)
  const bucket = values.bucket ?? null
  const settings = values.upstream === undefined && bucket !== null ? storeOfBucket(config, bucket) : storeNamed(config, values.upstream)
  const cost = costOf({ bucket, parts })
  const where = bucket === null ? 'in buckets that it makes and removes' : `under a prefix of its own in ${bucket}`
  platform.stderr.write(`Asking ${settings.endpoint} ${where}: at most ${cost.requests} requests and ${showCost(cost.bytes)} of bodies.\n`)
  const report = await ask(config, settings, { bucket, parts }, platform)
  if (report === null) return exitCodes.failed
  const changes = changesOf(report.facts, settings)
  const shown = Object.fromEntries(Object.entries(changes).map(([path, value]) => [path.replace(/^upstream(?=\.)/, settings.section), value]))
  platform.stdout.write(values.json ? jsonOf(report, shown) : textOf(report, shown))
  for (const name of report.left) platform.stderr.write(`sealgate store check: could not be removed: ${name}\n`)
  if (report.stopped) {
    platform.stderr.write('sealgate store check: stopped by a signal; what it had made was removed, unless listed above.\n')
    return exitCodes.failed
  }
  if (values.write && Object.keys(changes).length > 0) await write(file, shown, platform)
  return exitCodeOf(report, changes)
}

/** null: the store cannot be asked at all, which has been said. */
async function ask(
  config: Config,
  settings: UpstreamConfig,
  asked: { readonly bucket: string | null; readonly parts: number },
  platform: Platform
): Promise<StoreReport | null> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    platform.onSignal(signal, () => {
      stop.abort(new Error('stopped by a signal'))
    })
  }
  const opened: StoreUpstream[] = []
  const openOne = (upstream: UpstreamConfig, signStreams: boolean): StoreUpstream => {
    // As it is: what `upstream.lacks` spares it is asked too.
    const store = openStore({ ...upstream, lacks: [] }, config, { signStreams })
    opened.push(store)
    return store
  }
  try {
    return await checkStore({
      config: settings,
      ownCors: config.listen.cors.length > 0,
      ...asked,
      signal: stop.signal,
      tls: (upstream, host) => tlsOfStore(upstream, host, stop.signal),
      open: (upstream) => {
        const { protocol, hostname } = new URL(upstream.endpoint)
        const signed = protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))
        return { upstream: openOne(upstream, signed), chunked: openOne(upstream, !signed) }
      }
    })
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    const fields = Object.entries(fieldsOf(diagnosisOf(error))).map(([name, value]) => `${name} ${value}`).join(', ')
    platform.stderr.write(`sealgate store check: ${error.message}${fields === '' ? '' : ` (${fields})`}\n`)
    return null
  } finally {
    for (const store of opened) await store.close()
  }
}

function exitCodeOf({ facts }: StoreReport, changes: Settings): number {
  const broken = facts.filter(({ verdict, needed }) => verdict === 'fails' && needed === true)
  const repaired = (fact: Fact): boolean => Object.keys(fact.settings).some((path) => path in changes)
  if (broken.some((fact) => !repaired(fact)) || facts.every(({ verdict }) => verdict === 'unknown')) return exitCodes.unfit
  return Object.keys(changes).length > 0 ? exitCodes.change : exitCodes.done
}

const words: Readonly<Record<Verdict, string>> = { used: 'used', unused: 'not used', through: 'works through', fails: 'will not work', unknown: 'not known' }

/** A fact with the kinds of bucket in which it was seen alike; '' for the facts that are asked in one kind only. */
interface Row {
  readonly fact: Fact
  readonly kinds: readonly string[]
}

/** Kinds of bucket that agree share a row, where they do. */
function rowsOf(facts: readonly Fact[]): Row[] {
  const rows = Map.groupBy(facts, ({ fact, seen, verdict, means }) => JSON.stringify([fact, seen, verdict, means]))
  const kindsOf = (name: string): number => new Set(facts.filter(({ fact }) => fact === name).map(({ bucket }) => bucket)).size
  return [...rows.values()].flatMap((same) => {
    const [fact] = same
    if (fact === undefined) return []
    return [{ fact, kinds: same.length === kindsOf(fact.fact) && (same.length > 1 || fact.bucket === 'unversioned') ? [] : same.map(({ bucket }) => bucket) }]
  })
}

function titleOf({ fact: { fact }, kinds }: Row): string {
  return kinds.length === 0 ? fact : `${fact} [${kinds.join(', ')}]`
}

function textOf({ facts }: StoreReport, changes: Settings): string {
  const rows = rowsOf(facts)
  const cells = rows.map((row) => {
    const { seen, verdict, means = '' } = row.fact
    return [titleOf(row), seen, verdict === 'through' ? `${words[verdict]} ${means}` : [words[verdict], ...means === '' ? [] : [means]].join('; ')]
  })
  const widths = [0, 1].map((column) => Math.min(70, Math.max(0, ...cells.map((row) => row[column]?.length ?? 0))))
  const missing = rows.filter(({ fact: { verdict } }) => verdict === 'fails')
  return [
    ...cells.map((row) => row.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  ').trimEnd()),
    '',
    ...Object.keys(changes).length === 0 ? ['No setting needs to change.'] : ['Put into the configuration:', ...linesOf(changes).map((line) => `  ${line}`)],
    ...missing.length === 0 ? [] : ['', 'Will not work:', ...missing.map((row) => `  ${titleOf(row)}: ${row.fact.means ?? ''}`)],
    ''
  ].join('\n')
}

function linesOf(changes: Settings): string[] {
  return Object.entries(changes).map(([path, value]) => value === null ? `leave out ${path}` : `${path}: ${showOption(value)}`)
}

function jsonOf({ facts, left, stopped }: StoreReport, changes: Settings): string {
  const shown = facts.map(({ id, fact, bucket, seen, verdict, means, needed }) => ({
    id,
    fact,
    bucket,
    seen,
    verdict: words[verdict],
    means,
    needed: needed === true
  }))
  return `${JSON.stringify({ facts: shown, settings: changes, left, stopped }, null, 2)}\n`
}

/** Replaces the file whole, or not at all, with its mode and owner kept: the gateway must still be able to read it, and nobody else. */
async function write(file: string, changes: Settings, { env, stderr }: Platform): Promise<void> {
  const target = await realpath(file)
  const text = editTree(await readFile(target, 'utf8'), changes)
  // What was written must be what it was meant to be: a configuration that is not good does not replace one that is.
  parseConfig(text, { file, env, unsealed: new Set() })
  const { mode, uid, gid } = await stat(target)
  const fresh = `${target}.${randomBytes(6).toString('hex')}.new`
  try {
    const written = await open(fresh, 'wx', 0o600)
    try {
      await written.writeFile(text)
      const own = await written.stat()
      if (own.uid !== uid || own.gid !== gid) await written.chown(uid, gid)
      await written.chmod(mode & 0o777)
      await written.sync()
    } finally {
      await written.close()
    }
    await rename(fresh, target)
  } catch (error) {
    await rm(fresh, { force: true })
    throw new UsageError(`--write: ${target} could not be replaced: ${systemWords(error)}.`)
  }
  stderr.write(`Written into ${target}: ${Object.keys(changes).join(', ')}.\n`)
}

function showCost(bytes: number): string {
  return bytes < 1024 * 1024 ? showBytes(bytes) : `${Math.ceil(bytes / (1024 * 1024))} MiB`
}
