import t from 'tap'
import { Pkcs11KeyProvider, type Pkcs11Options } from '../../../src/keys/providers/pkcs11.ts'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { FAKE_BINDING, FakeToken, PIN } from '../../support/fake-pkcs11.ts'
import { keyContext } from '../support.ts'
import { conformance } from './conformance.ts'

const CALL_MS = 3000

await conformance(t, 'pkcs11', async (t) => {
  const token = new FakeToken(t)
  /** Those with short deadlines and without a breaker: they work again soon after the module does. */
  const hasty: Pkcs11KeyProvider[] = []
  let versions: Pkcs11Options['versions'] = [{ id: '01', state: 'enabled' }]
  const open = (service: string) => async ({ limits, ...options }: ServiceOptions): Promise<Pkcs11KeyProvider> => {
    const provider = new Pkcs11KeyProvider({
      ...options,
      // A process takes longer to start than the suite has for a call, and what hangs is killed after twice that.
      limits: { attempts: 1, ...limits, callMs: Math.max(CALL_MS, limits?.callMs ?? 0), requestMs: 60_000 },
      service,
      binding: FAKE_BINDING,
      module: token.path,
      token: { label: 'vault 7' },
      pin: PIN,
      label: 'master',
      mechanism: 'aes-gcm',
      extractable: false,
      versions: service === 'hsm' ? versions : [{ id: '02', state: 'enabled' }],
      selfTestContext: keyContext()
    })
    if ((limits?.callMs ?? 0) <= CALL_MS && limits?.attempts === undefined) hasty.push(provider)
    return provider
  }
  const fails = (code: number) => async (): Promise<void> => {
    token.change({ fails: { C_Decrypt: code, C_Encrypt: code } })
  }
  const lies = (answer: typeof token.module.lies) => async (): Promise<void> => {
    token.change({ lies: answer })
  }
  const [vault] = token.module.tokens
  const uses = (state: typeof vault) => async (): Promise<void> => {
    token.change({ tokens: [state!] })
  }
  return {
    open: open('hsm'),
    openOther: open('other'),
    rotate: async () => {
      versions = [{ id: '01', state: 'decrypt-only' }, { id: '03', state: 'enabled' }]
    },
    states: {
      'disabled in the configuration': {
        enter: async () => {
          versions = [{ id: '01', state: 'disabled' }, { id: '03', state: 'enabled' }]
        },
        leave: async () => {
          versions = [{ id: '01', state: 'decrypt-only' }, { id: '03', state: 'enabled' }]
        },
        code: 'KMS.DisabledException'
      },
      'not configured': {
        enter: async () => {
          versions = [{ id: '03', state: 'enabled' }]
        },
        leave: async () => {
          versions = [{ id: '01', state: 'decrypt-only' }, { id: '03', state: 'enabled' }]
        },
        code: 'SealgateKeyUnavailable'
      },
      'disabled in the token': {
        enter: uses({ ...vault!, keys: vault!.keys.map((key) => ({ ...key, uses: [] })) }),
        leave: uses(vault),
        code: 'KMS.DisabledException'
      },
      'deleted in the token': { enter: uses({ ...vault!, keys: [] }), leave: uses(vault), code: 'KMS.NotFoundException' }
    },
    faults: {
      'outage': fails(0x30),
      'throttled': fails(0xb1),
      'slow': async () => {
        token.change({ hangs: 'C_Decrypt' })
      },
      'half an answer': async () => {
        token.change({ crashes: 'C_Decrypt' })
      },
      'a key of 31 bytes': lies('short'),
      'a key of zeros': lies('zeros'),
      'garbage': fails(-1)
    },
    heal: async () => {
      token.change({ fails: {}, lies: null, hangs: null, crashes: null })
      for (const provider of hasty) while (!await provider.selfTest().then(() => true, () => false));
    },
    calls: () => token.calls.length,
    secrets: () => [PIN, ...vault!.keys.map(({ value }) => value)]
  }
})
