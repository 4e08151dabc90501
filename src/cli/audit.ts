// `sealgate audit`: verifies an audit trail.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { readConfig } from './sealed-config.ts'
import { systemWords } from '../diagnosis.ts'
import { auditKeysOf } from '../gateway/audit.ts'
import { takeKey } from '../keys/key-material.ts'
import { readOwnerOnly } from '../keys/keyring-file.ts'
import { KeyringError } from '../keys/keyring.ts'
import { quoted } from '../maintenance/report.ts'
import { MOST_LINE, parseHead, type AuditKey } from '../observe/audit-chain.ts'
import { AuditVerifier, type AuditVerdict, type Witness } from '../observe/audit-verify.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'

interface VerifyValues {
  readonly 'file': readonly string[]
  readonly 'config': string | undefined
  readonly 'key-file': readonly string[]
  readonly 'against': readonly string[]
  readonly 'json': boolean
}

/** Runs without an orderly end that are printed. */
const RUNS_SHOWN = 20

/** `sealgate audit verify`. @returns the exit code. @throws UsageError, ConfigError, KeyringError. */
export async function verifyAudit(values: VerifyValues, platform: Platform): Promise<number> {
  const named = values['key-file']
  if (named.length > 0 && values.config !== undefined) throw new UsageError('Give either --config or --key-file.')
  const keys = named.length === 0 ? await configuredKeys(values.config, platform) : []
  for (const file of named) keys.push(...await keysIn(file))
  const witnesses: Witness[] = []
  for (const file of values.against) for await (const witness of witnessesIn(file)) witnesses.push(witness)
  const verifier = new AuditVerifier(keys, witnesses)
  for (const file of values.file) if (!await readable(file, () => verifier.read(file, contentOf(file)))) break
  const verdict = verifier.end()
  platform.stdout.write(values.json ? `${JSON.stringify({ verdict: wordOf(verdict), ...verdict })}\n` : textOf(verdict))
  return verdict.fault === null ? exitCodes.done : exitCodes.tampered
}

/** `sealgate audit key`. @returns the exit code. @throws UsageError, ConfigError, KeyringError. */
export async function printAuditKeys(values: { readonly config: string | undefined }, platform: Platform): Promise<number> {
  for (const { id, key } of await configuredKeys(values.config, platform)) {
    const bytes = key.export()
    platform.stdout.write(`${id} ${bytes.toString('hex')}\n`)
    bytes.fill(0)
  }
  return exitCodes.done
}

async function configuredKeys(file: string | undefined, platform: Platform): Promise<AuditKey[]> {
  const { audit, keys } = await readConfig({ file: requiredConfig({ config: file }, platform), env: platform.env })
  const key = audit.key === null ? undefined : keys[audit.key]
  if (key?.type !== 'local') throw new UsageError('The configuration has no audit.key: its trail is not chained. Give --key-file for an older one.')
  return auditKeysOf(key.keyring)
}

/** Of a keyring, or of lines `ID HEX`. @throws KeyringError. */
async function keysIn(path: string): Promise<AuditKey[]> {
  const bytes = await readOwnerOnly(path)
  const text = bytes.toString('latin1').trim()
  bytes.fill(0)
  if (!text.startsWith('local:')) return auditKeysOf(path)
  return text.split('\n').map((line) => {
    const [, id = '', hex = ''] = /^(local:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+) ([0-9a-f]{64})\r?$/.exec(line) ?? []
    const key = takeKey(Buffer.from(hex, 'hex'))
    if (key === null) throw new KeyringError(`${path} is neither a keyring nor what "audit key" prints.`)
    return { id, key }
  })
}

async function readable<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new UsageError(`${quoted(file)} cannot be read: ${systemWords(error)}`)
  }
}

function contentOf(file: string): AsyncIterable<Buffer> {
  const bytes = createReadStream(file, { highWaterMark: MOST_LINE })
  if (!file.endsWith('.gz')) return bytes
  const unpacked = createGunzip()
  // `compose` hands on an error of either.
  return bytes.compose(unpacked) as AsyncIterable<Buffer>
}

/** Every line that has run, number and MAC: those of a trail, and of the log about checkpoints. */
async function* witnessesIn(file: string): AsyncGenerator<Witness> {
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity })
  const read = lines[Symbol.asyncIterator]()
  for (;;) {
    const { done, value } = await readable(file, () => read.next())
    if (done === true) return
    const witness = value.length > MOST_LINE ? null : witnessIn(value)
    if (witness !== null) yield witness
  }
}

function witnessIn(line: string): Witness | null {
  const start = line.indexOf('{')
  if (start < 0 || !line.includes('"run":"')) return null
  try {
    const { run, seq, mac } = JSON.parse(line.slice(start)) as Readonly<Record<string, unknown>>
    const head = parseHead(`${String(seq)} ${String(mac)}`)
    return typeof run === 'string' && /^[A-Za-z0-9_-]{22}$/.test(run) && head !== null ? { run, head } : null
  } catch {
    return null
  }
}

function wordOf({ fault, runs }: AuditVerdict): 'tampered' | 'unfinished' | 'whole' {
  if (fault !== null) return 'tampered'
  return runs.some(({ end }) => end === 'open') ? 'unfinished' : 'whole'
}

function textOf(verdict: AuditVerdict): string {
  const { fault, lines, checkpoints, plain, torn, earlier, runs } = verdict
  const open = runs.filter(({ end }) => end === 'open')
  const rows = [
    fault === null
      ? 'Whole: every line is as it was written.'
      : `TAMPERED: ${quoted(fault.file)}${fault.line === 0 ? '' : `, line ${fault.line}`}: ${fault.kind}: ${fault.reason}`,
    `${lines} lines, ${checkpoints} of them checkpoints, of ${runs.length} runs${fault === null ? '' : ', before that'}`,
    ...plain === 0 ? [] : [`${plain} lines before the first of a chain, which nothing protects`],
    ...torn === 0 ? [] : [`${torn} lines left unfinished by a crash or a full disk; nothing in them is evidence`],
    ...earlier === 0 ? [] : [`${earlier} runs go back to files before these`],
    ...open.length === 0 ? [] : [`${open.length} runs without an orderly end (running, killed, or their end was cut off):`],
    ...open.slice(-RUNS_SHOWN).map(({ run, seq, time }) => `  ${run}  line ${seq} at ${time}`)
  ]
  return `${rows.join('\n')}\n`
}
