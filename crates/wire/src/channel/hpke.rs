//! HPKE in base mode: one sealed message and two exported secrets a context.

use alloc::vec::Vec;

use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use keyhaven_secrets::Entropy;
use zeroize::Zeroizing;

use super::ChannelError;
use super::keys::{
    Aead, ChannelPublicKey, EXPORT_FOLLOW, EXPORT_REPLY, FollowKeys, FromEntropy, Kdf, OpeningKey,
    ReplyKey,
};
use crate::suite::{Binding, Exported, SealedFirst};

pub(crate) fn hpke_seal(
    channel: &ChannelPublicKey,
    binding: &Binding<'_>,
    body: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<SealedFirst, ChannelError> {
    let (encapsulated, mut context) = hpke::setup_sender_with_rng::<Aead, Kdf, hpke::kem::XWing>(
        &OpModeS::Base,
        &channel.engine()?,
        binding.info,
        &mut FromEntropy(entropy),
    )
    .map_err(|_| ChannelError::InvalidKey)?;
    let sealed = context
        .seal(body, binding.aad)
        .map_err(|_| ChannelError::InvalidKey)?;
    let exported =
        export(|label, out| context.export(label, out)).map_err(|_| ChannelError::InvalidKey)?;
    Ok(SealedFirst {
        encapsulated: encapsulated.to_bytes().to_vec(),
        sealed,
        exported,
    })
}

pub(crate) fn hpke_open(
    key: &OpeningKey,
    binding: &Binding<'_>,
    encapsulated: &[u8],
    sealed: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError> {
    let encapsulated = <hpke::kem::XWing as hpke::Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| ChannelError::InvalidKey)?;
    let mut context = hpke::setup_receiver::<Aead, Kdf, hpke::kem::XWing>(
        &OpModeR::Base,
        key.engine(),
        &encapsulated,
        binding.info,
    )
    .map_err(|_| ChannelError::DoesNotOpen)?;
    let body = context
        .open(sealed, binding.aad)
        .map(Zeroizing::new)
        .map_err(|_| ChannelError::DoesNotOpen)?;
    let exported =
        export(|label, out| context.export(label, out)).map_err(|_| ChannelError::DoesNotOpen)?;
    Ok((body, exported))
}

fn export(
    from: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>,
) -> Result<Exported, hpke::HpkeError> {
    let mut reply = Zeroizing::new([0; 32]);
    let mut follow = Zeroizing::new([0; 64]);
    from(EXPORT_REPLY, reply.as_mut_slice())?;
    from(EXPORT_FOLLOW, follow.as_mut_slice())?;
    Ok(Exported {
        reply: ReplyKey::new(*reply),
        follow: FollowKeys::new(*follow),
    })
}
