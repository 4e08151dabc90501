import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { DirectoryBackend } from '../../src/embedded-store/directory.ts'
import { MemoryBackend } from '../../src/embedded-store/memory.ts'
import { startStore } from '../../src/embedded-store/server.ts'
import type { Backend } from '../../src/embedded-store/backend.ts'

export const credentials = { accessKeyId: 'AKIDSTORE', secretAccessKey: 'a secret of the store tests' } as const
export const region = 'us-east-1'

export interface Rig {
  readonly endpoint: string
  readonly client: S3Client
  readonly close: () => Promise<void>
}

// The SDK warns of bodies without Content-Length, which is how it sends the streams that are tested here.
const ignore = (): void => undefined
const silent = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore }

/** A store on a free port, and a client for it. */
export async function startRig(backend: Backend, options: { readonly region?: string; readonly domain?: string } = {}): Promise<Rig> {
  const at = options.region ?? region
  const store = await startStore({ backend, credentials: [credentials], host: '127.0.0.1', port: 0, ...options, region: at })
  const client = new S3Client({ endpoint: store.endpoint, region: at, credentials, forcePathStyle: true, maxAttempts: 1, logger: silent })
  return {
    endpoint: store.endpoint,
    client,
    async close() {
      client.destroy()
      await store.close()
    }
  }
}

const backends: readonly { readonly name: string; readonly make: () => Promise<{ readonly backend: Backend; readonly remove: () => Promise<void> }> }[] = [
  { name: 'memory', make: async () => ({ backend: new MemoryBackend(), remove: async () => undefined }) },
  {
    name: 'directory',
    make: async () => {
      const root = await temporaryDirectory()
      return { backend: new DirectoryBackend(root), remove: () => rm(root, { recursive: true, force: true }) }
    }
  }
]

/** Runs a suite on both backends, each with a store and a client of its own. */
export async function onEachBackend(t: Test, suite: (t: Test, rig: Rig, name: string) => Promise<void>): Promise<void> {
  for (const { name, make } of backends) {
    await t.test(name, async (t) => {
      const { backend, remove } = await make()
      const rig = await startRig(backend)
      t.teardown(async () => {
        await rig.close()
        await remove()
      })
      await suite(t, rig, name)
    })
  }
}

export function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'store-test-'))
}

/** What a failing command failed with: `404 NoSuchKey`; `HEAD` errors have no body and so no code but the status. */
export async function failure(command: Promise<unknown>): Promise<string> {
  try {
    await command
  } catch (error) {
    if (error instanceof S3ServiceException) return `${error.$metadata.httpStatusCode ?? 0} ${error.name}`
    throw error
  }
  return 'no failure'
}

/** Bytes that repeat with no period that could hide a misplaced block. */
export function pattern(size: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  let state = seed
  for (let i = 0; i < size; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}
