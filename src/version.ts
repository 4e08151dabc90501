import { readFileSync } from 'node:fs'

interface Manifest {
  readonly version: string
  /** As `>=24.11.0`. */
  readonly engines: { readonly node: string }
}

/** Version of the package. */
export function version(): string {
  return manifest().version
}

/** The oldest Node that the package runs on, as `24.11.0`. */
export function oldestNode(): string {
  return manifest().engines.node.replace('>=', '')
}

function manifest(): Manifest {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Manifest
}
