//! Byte strings of one length as types of their own, so that two of them cannot be mixed up.

/// Makes a newtype over `[u8; N]` for values that may be seen: printed in hexadecimal, compared
/// and ordered freely.
macro_rules! public_bytes {
    ($(#[$meta:meta])* $name:ident, $len:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// How many bytes it has.
            pub const BYTES: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                for byte in self.0.iter().take(8) {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str(if $len > 8 { "…)" } else { ")" })
            }
        }

        $crate::bytes::cbor_bytes!($name, $len);
    };
}

/// Makes a newtype over a boxed `[u8; N]` for secrets: wiped when dropped, never printed, compared
/// in constant time. It is boxed so that moving it leaves no copy behind.
macro_rules! secret_bytes {
    ($(#[$meta:meta])* $name:ident, $len:expr) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(::alloc::boxed::Box<zeroize::Zeroizing<[u8; $len]>>);

        impl $name {
            /// How many bytes it has.
            pub const BYTES: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub fn new(bytes: [u8; $len]) -> Self {
                Self(::alloc::boxed::Box::new(zeroize::Zeroizing::new(bytes)))
            }

            /// Draws one.
            #[must_use]
            pub fn generate(entropy: &mut dyn keyhaven_secrets::Entropy) -> Self {
                let mut secret = Self::new([0; $len]);
                entropy.fill(secret.0.as_mut_slice());
                secret
            }

            /// The secret itself: say why at each use.
            #[must_use]
            pub fn expose(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                use subtle::ConstantTimeEq as _;
                self.0.as_slice().ct_eq(other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}

        $crate::bytes::cbor_bytes!($name, $len);
    };
}

/// CBOR byte strings of exactly this length.
macro_rules! cbor_bytes {
    ($name:ident, $len:expr) => {
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(self.0.as_slice())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                <[u8; $len]>::try_from(d.bytes()?)
                    .map(Self::new)
                    .map_err(|_| {
                        minicbor::decode::Error::message(concat!("length of ", stringify!($name)))
                    })
            }
        }
    };
}

pub(crate) use {cbor_bytes, public_bytes, secret_bytes};
