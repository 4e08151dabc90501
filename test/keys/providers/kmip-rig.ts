import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { KmipConfig } from '../../../src/config/key-config.ts'
import { KmipKeyProvider, type KmipOptions } from '../../../src/keys/providers/kmip.ts'
import { FakeKmip } from '../../support/fake-kmip.ts'
import { keyContext } from '../support.ts'

export function pem(name: string): string {
  return join(import.meta.dirname, '../../support/tls', name)
}

const text = (name: string) => readFileSync(pem(name), 'utf8')
const trust = { ca: text('localhost-cert.pem'), client: { cert: text('client-cert.pem'), key: text('client-key.pem') }, serverName: null }

export function startKmip(t: Test): Promise<FakeKmip> {
  return FakeKmip.start(t, { cert: text('localhost-cert.pem'), key: text('localhost-key.pem'), ca: text('client-cert.pem') })
}

export function kmipConfig(kmip: FakeKmip, label: string, versions: KmipConfig['versions']): KmipConfig {
  return {
    type: 'kmip',
    addresses: [kmip.address],
    service: 'kmip',
    label,
    versions,
    ca: pem('localhost-cert.pem'),
    cert: pem('client-cert.pem'),
    key: pem('client-key.pem'),
    serverName: null
  }
}

export function openKmip(config: KmipConfig, options: Partial<KmipOptions> = {}): KmipKeyProvider {
  return new KmipKeyProvider({ config, trust, selfTestContext: keyContext(), ...options })
}
