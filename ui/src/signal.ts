// SPDX-License-Identifier: Apache-2.0
export type Listener<T> = (value: T) => void;

/** A value that tells when it changes. */
export class Signal<T> {
  private listeners = new Set<Listener<T>>();
  constructor(public value: T) {}
  set(value: T): void {
    this.value = value;
    this.listeners.forEach((listener) => listener(value));
  }
  listen(listener: Listener<T>): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
