import type { Checksum } from '../../envelope/envelope.ts'
import type { Manifest } from '../../envelope/manifest.ts'
import type { HeaderList } from '../../http/headers.ts'
import type { Execution } from '../context.ts'
import type { StoredObject } from '../objects/sealed-object.ts'
import { checksumAlgorithms, parseChecksum, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../../http/checksums.ts'
import { header } from '../context.ts'
import { readManifest } from '../objects/read-manifest.ts'

/** The checksum a copy is to have. */
export interface CopiedChecksum {
  readonly algorithm: ChecksumAlgorithm
  /** Over the bytes of the whole object, as the source tells it; null: to be computed. */
  readonly value: Buffer | null
}

/**
 * What S3 gives a copy: a checksum over the whole of it, of the algorithm the client asks for, else of the source's (AWS, "Checking
 * object integrity").
 * @returns null when neither names one.
 * @throws S3Error InvalidRequest for an algorithm that is not computed here; ObjectChanged.
 */
export async function copiedChecksum(x: Execution, object: StoredObject, manifest: Manifest | null): Promise<CopiedChecksum | null> {
  const named = header(x, 'x-amz-checksum-algorithm')
  const asked = named === undefined ? null : requireChecksumAlgorithm(named)
  const had = await checksumsOf(x, object, manifest)
  const algorithm = asked ?? had[0]?.algorithm
  if (algorithm === undefined) return null
  return { algorithm, value: had.find((one) => one.algorithm === algorithm && one.type === 'full')?.value ?? null }
}

async function checksumsOf(x: Execution, object: StoredObject, manifest: Manifest | null): Promise<readonly Pick<Checksum, 'algorithm' | 'type' | 'value'>[]> {
  if (object.kind === 'plain') return checksumsIn(object.headers)
  const whole = manifest ?? (object.attributes.digestsInManifest ? await readManifest(x, object) : null)
  return [...object.attributes.checksums, ...whole?.checksums ?? []]
}

/** What the store says of an object in clear. */
function checksumsIn(headers: HeaderList): Pick<Checksum, 'algorithm' | 'type' | 'value'>[] {
  return Object.keys(checksumAlgorithms).map((name) => name as ChecksumAlgorithm).flatMap((algorithm) => {
    const text = headers.get(`x-amz-checksum-${algorithm}`)
    if (text === undefined) return []
    const value = headers.get('x-amz-checksum-type') === 'COMPOSITE' ? null : parseChecksum(algorithm, text)
    return [{ algorithm, type: value === null ? 'composite' as const : 'full' as const, value: value ?? Buffer.alloc(0) }]
  })
}
