// The signed record of a destroyed key: one file, so that it and its signature are replaced together (docs/decisions/0159).
import type { Destruction } from '../keys/provider-kind.ts'
import { writeAtomically } from '../keys/keyring-file.ts'
import { KeyringError } from '../keys/keyring.ts'
import { signEvidence, type Evidence } from '../maintenance/evidence.ts'
import { UsageError } from './command-line.ts'
import type { OpenedKeys } from './store-command.ts'

const KIND = 'destruction of a key'

/** What a record says, beside what the evidence of a report says as well. Times in ISO 8601. */
export interface ShredFacts {
  readonly version: string
  /** SHA-256 of the configuration file, in hex. */
  readonly configuration: string
  readonly by: string
  readonly key: string
  readonly type: string
  /** Places of the configuration that name the key. */
  readonly uses: readonly object[]
  readonly began: string
}

/** Absent fields: the command has not come to its end. */
export interface ShredResult {
  readonly ended?: string
  readonly destroyed: Pick<Destruction, 'keyIds' | 'final' | 'notes'> | null
  /** Why all or some of it is not destroyed. */
  readonly failed?: { readonly code: string; readonly message: string } | null
}

interface Signing {
  readonly bucket: string
  readonly realm: string
  /** Name of the key that signs. */
  readonly signer: string
  readonly opened: OpenedKeys
}

/** The file of a record. Every write replaces it as a whole. */
export class ShredRecord {
  readonly #file: string
  readonly #signing: Signing
  readonly #facts: ShredFacts
  #made = false

  constructor(file: string, facts: ShredFacts, signing: Signing) {
    this.#file = file
    this.#facts = facts
    this.#signing = signing
  }

  /** The first call makes the file. @throws UsageError when that cannot be, also where there is one; later KeyringError; S3Error of the signing key. */
  async write(result: ShredResult): Promise<void> {
    const { bucket, realm, signer, opened } = this.#signing
    const use = { ...opened.useFor(bucket, '', null), objectKey: null }
    const text = await signEvidence({ record: KIND, bucket, realm, ...this.#facts, ...result }, opened.keys, signer, use)
    try {
      await writeAtomically(this.#file, Buffer.from(text), { mayReplace: this.#made })
    } catch (error) {
      throw error instanceof KeyringError && !this.#made ? new UsageError(`--record: ${error.message}`) : error
    }
    this.#made = true
  }
}

/** Whether evidence is a record of its own, and not about a report. */
export function isShredRecord({ record, reportSha256 }: Evidence): boolean {
  return record === KIND && reportSha256 === undefined
}

/** After these nothing was destroyed. A call without an answer may have been carried out, and a key that is not there may have gone by its first attempt. */
const refusals: ReadonlySet<string> = new Set(['AccessDenied', 'KMS.DisabledException', 'KMS.KMSInvalidStateException', 'KeyringError'])

/** One line for people, of a genuine record. */
export function wordsOf(evidence: Evidence): string {
  const { key, began, ended, destroyed, failed } = evidence as Evidence & ShredFacts & ShredResult
  const what = `key ${key}, begun at ${began}`
  if (ended === undefined) {
    return `${what}; without an end: the command was stopped or still runs. Ask the key service, or look at the keyring, whether the key is destroyed`
  }
  const why = failed === undefined || failed === null ? null : `: ${failed.message} (${failed.code})`
  const certain = refusals.has(failed?.code ?? '')
  if (destroyed === null) return `${what}, ended at ${ended}: ${certain ? 'NOT destroyed' : 'not known to be destroyed'}${why ?? ''}`
  const done = `${destroyed.keyIds.join(', ')}, final at ${destroyed.final}`
  if (why === null) return `${what}, ended at ${ended}: destroyed ${done}`
  return `${what}, ended at ${ended}: destroyed IN PART ${done}; the rest is not${certain ? '' : ' known to be'}${why}`
}
