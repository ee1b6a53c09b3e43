import { PasswordInput, type PasswordInputProps } from '@mantine/core';

/** A password, with a button that shows it. The library's own does not tell assistive technology that something is wrong with it. */
export function PasswordField(props: PasswordInputProps) {
  return <PasswordInput {...props} aria-invalid={Boolean(props.error) || undefined} />;
}
