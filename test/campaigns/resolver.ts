// Loaded into a gateway before its own modules: the address of one host is read from a file, and changes with it.
import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import type { LookupFunction } from 'node:net'

const { STORE_NAME: name, STORE_ADDRESS_FILE: file } = process.env
const ofSystem = dns.lookup as LookupFunction

const lookup: LookupFunction = (hostname, options, done) => {
  if (hostname !== name || file === undefined) {
    ofSystem(hostname, options, done)
    return
  }
  const address = readFileSync(file, 'utf8')
  process.nextTick(() => {
    if (options.all === true) done(null, [{ address, family: 4 }])
    else done(null, address, 4)
  })
}
// What node:net calls is the property of the module, looked up at every connection.
Object.assign(dns, { lookup })
