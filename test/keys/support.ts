import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeyContext, KeyUse } from '../../src/keys/types.ts'

/** A key use with nothing special about it. */
export function keyUse(change: Partial<KeyUse> = {}): KeyUse {
  return {
    requestId: 'REQ1',
    principal: 'AKIATEST',
    sourceAddress: '192.0.2.1',
    operation: 'PutObject',
    bucket: 'bucket',
    objectKey: 'a/b',
    versionId: null,
    signal: new AbortController().signal,
    ...change
  }
}

export function keyContext(change: Partial<KeyContext> = {}): KeyContext {
  return { realm: 'default', bucket: 'bucket', objectKey: null, requestContext: {}, ...change }
}

/** Contexts that differ from keyContext({ requestContext: { a: '1' } }) in one respect each. */
export const otherContexts: readonly KeyContext[] = [
  keyContext({ realm: 'other', requestContext: { a: '1' } }),
  keyContext({ bucket: 'bucket2', requestContext: { a: '1' } }),
  keyContext({ objectKey: 'k', requestContext: { a: '1' } }),
  keyContext({ requestContext: {} }),
  keyContext({ requestContext: { a: '2' } }),
  keyContext({ requestContext: { b: '1' } }),
  keyContext({ requestContext: { A: '1' } }),
  keyContext({ requestContext: { a: '1', b: '' } })
]

/** A directory of its own for a test, removed afterwards. */
export async function temporaryDirectory(test: { teardown(work: () => Promise<void>): void }): Promise<(name: string) => string> {
  const directory = await mkdtemp(join(tmpdir(), 'sealgate-keys-'))
  test.teardown(async () => {
    await rm(directory, { recursive: true, force: true })
  })
  return (name) => join(directory, name)
}
